"""An agent answers in public, under supervision: plan, evidence, drafts that a person reviews, compliance, publication.

Run it alone (`python examples/agent.py`), or give it to workers: `runner worker --app examples.agent:app`.
No model is called: `complete` has the shape of one.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from runner import App, Case, Context, Event, ExecutionCancelled, Retry, Signal, TimedOut, idempotency_key

app = App("agents")


@dataclass(frozen=True)
class Question:
    text: str


@dataclass(frozen=True)
class Draft:
    number: int
    text: str


@dataclass(frozen=True)
class Review:
    decision: Literal["approve", "revise", "reject"]
    by: str
    comments: str = ""


class Withdrawn(Exception):
    """The answer is not to be published."""


reviewed = Signal[Review]("review")
cleared = Signal[str]("cleared")  # by a compliance officer, who gives a name
published = Event[Draft]("answer.published")


@app.step(retry=Retry(max_attempts=6, initial=1, max_interval=60), timeout=300)
async def complete(task: Literal["plan", "search", "write", "assess"], prompt: str) -> str:
    """Stands for a language model, which has its limits and its bad minutes: hence the retries."""
    await asyncio.sleep(0.02)
    risk = "sensitive" if "health" in prompt else "clear"
    return {"plan": "library, laboratory, archive", "assess": risk}.get(task, prompt)


@app.step(retry=Retry(max_attempts=5))
async def store(draft: Draft) -> str:
    return f"draft {draft.number}, stored as {idempotency_key()}"  # a second attempt stores the same one


@app.step(retry=Retry(max_attempts=5))
async def withdraw(stored: str) -> None:
    print(f"  withdrawn: {stored}")


def digest(findings: tuple[str, ...]) -> str:
    return ", ".join(findings)


async def gathered(ctx: Context, question: Question) -> str:
    """What is known, from all sources that the plan names. A part of the workflow: it awaits only its ctx."""
    sources = (await ctx.step("plan", complete, "plan", question.text)).split(", ")

    async def search(source: str) -> str:
        return await ctx.step("search", complete, "search", f"the {source} says so")

    findings = await ctx.map("evidence", search, sources, key=str, max_concurrency=2)
    return await ctx.step("digest", digest, findings)


async def approved_draft(ctx: Context, question: Question, evidence: str) -> Draft:
    """Write until a person approves; every draft is stored for the reviewer, and withdrawn if nothing comes of it."""
    comments = "certainly"
    for number in range(1, 5):
        text = await ctx.step(f"write-{number}", complete, "write", f"{question.text}, {comments}: {evidence}")
        draft = Draft(number, text)
        await ctx.step(f"store-{number}", store, draft).options(compensate=withdraw)
        match await ctx.wait_for_signal(reviewed, timeout=timedelta(days=7), id=f"review-{number}"):
            case TimedOut():
                raise Withdrawn("nobody reviewed it for a week")
            case Review("reject", by, why):
                raise Withdrawn(f"{by} rejected it: {why}")
            case Review("revise", comments=comments):
                continue  # the next draft heeds them
            case review:
                await ctx.note("approved", draft=number, by=review.by)
                return draft
    raise Withdrawn("four drafts, and none was approved")


async def publish(ctx: Context, draft: Draft) -> str:
    await ctx.emit(published, draft, id="publish")  # leaves with the commit that records it
    return draft.text


async def publish_once_cleared(ctx: Context, draft: Draft) -> str:
    match await ctx.wait_for_signal(cleared, timeout=timedelta(days=14), id="clearance"):
        case TimedOut():
            raise Withdrawn("compliance did not clear it")
        case officer:
            await ctx.note("cleared", by=officer)
            return await publish(ctx, draft)


@app.workflow("answer", category="agents", signals=[reviewed, cleared], defaults=Question("Tea is wet"))
async def answer(ctx: Context, question: Question) -> str:
    """Answer in public, or take everything back.

    Rejected, not reviewed, not cleared, cancelled: the stored drafts are withdrawn, the latest first, each once.
    """
    evidence = await gathered(ctx, question)
    try:
        async with ctx.saga():
            draft = await approved_draft(ctx, question, evidence)
            risk = await ctx.step("assess", complete, "assess", draft.text)
            clear = Case("clear", "clear", lambda: publish(ctx, draft))
            return await ctx.switch("compliance", risk, [clear], default=lambda: publish_once_cleared(ctx, draft))
    except Withdrawn as error:
        return f"not published: {error}"


async def main() -> None:
    async with app.embedded() as client:
        handle = await client.start(answer, Question("Tea is wet"))
        await handle.signal(reviewed, Review("revise", by="ann", comments="if it is not dry"))
        await handle.signal(reviewed, Review("approve", by="ann"))
        print(await handle.result())

        handle = await client.start(answer, Question("Tea is good for your health"), id="health")
        await handle.signal(reviewed, Review("revise", by="ann", comments="within reason"))
        await handle.signal(reviewed, Review("approve", by="ann"))
        async for line in handle.watch():
            if line.kind == "wait" and line.fields["id"] == "clearance":
                await handle.cancel("the board has second thoughts")
        try:
            print(await handle.result())
        except ExecutionCancelled as cancelled:
            print(cancelled)


if __name__ == "__main__":
    asyncio.run(main())
