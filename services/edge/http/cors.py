"""CORS: any web page may send events with its project's key."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

CORS = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["POST", "OPTIONS"],
    allow_headers=["Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-Id"],
    expose_headers=["Retry-After", "X-Request-Id"],
    max_age=86_400,
)
