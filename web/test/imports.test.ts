import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** The modules that each module of the page imports, types included. The tests run in `web/`. */
function importGraph(): Map<string, string[]> {
  const modules = readdirSync("src").filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
  return new Map(
    modules.map((file) => {
      const source = readFileSync(`src/${file}`, "utf8");
      const imports = [...source.matchAll(/from "\.\/([\w-]+)"/g)].map(([, name = ""]) => `${name}.ts`);
      return [file, imports];
    }),
  );
}

test("no module imports itself by way of others", () => {
  const graph = importGraph();
  assert.ok((graph.get("main.ts") ?? []).length > 10, "the imports were found");
  const finished = new Set<string>();
  const follow = (module: string, path: string[]): void => {
    assert.ok(!path.includes(module), `a circle of imports: ${[...path, module].join(" -> ")}`);
    if (finished.has(module)) return;
    for (const next of graph.get(module) ?? []) follow(next, [...path, module]);
    finished.add(module);
  };
  for (const module of graph.keys()) follow(module, []);
});
