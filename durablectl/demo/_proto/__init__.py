"""Generated protobuf code: proto/generate makes it, nobody edits it."""
