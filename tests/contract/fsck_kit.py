"""What the tests of the check share: what it is asked, and what a repair must come to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runner.fsck import FsckReport

Check = Callable[..., Awaitable[FsckReport]]


async def mended(check: Check, *codes: str) -> None:
    """Found, found again, set right, and found no more."""
    assert set((await check()).counts) == set(codes)
    report = await check(repair=True)
    assert set(report.counts) == set(codes)
    assert report.repaired > 0
    assert (report.left, [one for one in report.findings if not one.repaired]) == (0, [])
    report = await check(repair=True)
    assert report.clean, report.findings
    assert report.repaired == 0
