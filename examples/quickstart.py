import asyncio

from runner import App, Context

app = App("hello")


async def price_of(item: str) -> int:  # any function can be a step
    return {"tea": 3, "cake": 5}[item]


@app.workflow
async def buy(ctx: Context, item: str) -> str:
    price = await ctx.step("price", price_of, item)  # runs once; what it returns is recorded
    await ctx.sleep(1)  # an hour would do as well: nothing waits in memory
    return f"{item} for {price} coins"


async def main() -> None:
    async with app.embedded() as client:
        print(await (await client.start(buy, "tea")).result())


asyncio.run(main())
