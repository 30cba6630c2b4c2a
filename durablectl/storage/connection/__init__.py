"""The connection to NATS: authentication, requests, rejections."""
