"""What authors import and are handed: context, handles, decorators, app loading."""
