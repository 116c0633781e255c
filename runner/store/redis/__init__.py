"""The store on Redis."""

from runner.store.redis.store import RedisStore

__all__ = ["RedisStore"]
