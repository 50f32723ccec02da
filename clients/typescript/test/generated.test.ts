import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../", import.meta.url);

test("what is generated is that of today's schema", async () => {
    const { generated } = await import(new URL("generate.mjs", root).href);
    for (const [name, text] of Object.entries(generated()))
        assert.equal(readFileSync(new URL(name, root), "utf8"), text, `${name}: npm run generate`);
});
