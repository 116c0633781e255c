"""What `make demo` shows, and checks: a workflow survives `kill -9`. `story.py` is the place to start reading."""
