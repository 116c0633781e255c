"""Why an execution does not go on: what it waits for, since when, what ends that, and what is wrong if something is.

``explain`` is pure, from facts to reasons; ``gather`` finds the facts.
"""

from runner.why.codes import ReasonCode
from runner.why.reason import Reason, Why, assert_explained

__all__ = ["Reason", "ReasonCode", "Why", "assert_explained"]
