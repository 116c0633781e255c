"""Starts a workflow, kills its process in the middle of a step, starts it again, and checks that nothing was lost."""

import sys

from kill_and_resume.story import tell

if __name__ == "__main__":
    sys.exit(tell())
