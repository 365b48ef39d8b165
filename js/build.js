// Builds the terminal widget into the package: `make js`. With an argument: into that directory,
// and the manifest is left alone.
//
// The same sources and the same lock file give the same bytes, on every machine.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const home = join(here, "../ecs_exec_magic/notebook/widgets/static");
const out = process.argv[2] ?? home;

mkdirSync(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["terminal.js", "terminal.css"],
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none", // the licences stand whole in a file of their own
  charset: "utf8",
  metafile: true,
  logLevel: "warning",
});

// Whoever passes the package on passes these texts on.
const inputs = Object.keys(metafile.inputs);
const PACKAGE = /node_modules\/(@[^/]+\/[^/]+|[^/]+)/;
const bundled = new Set(inputs.flatMap((path) => path.match(PACKAGE)?.[1] ?? []));
const licences = [...bundled].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
});
writeFileSync(
  join(out, "LICENSES.txt"),
  `terminal.mjs and terminal.css contain these packages.\n\n${licences.join(`\n${"-".repeat(80)}\n\n`)}`,
);

if (out === home) {
  const own = readdirSync(here).filter((name) => /\.(js|css|json)$/.test(name));
  const sum = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
  const sums = (folder, names) =>
    Object.fromEntries(names.sort().map((name) => [name, sum(join(folder, name))]));
  const manifest = {
    sources: sums(here, own.filter((name) => name !== "manifest.json")),
    built: sums(home, readdirSync(home)),
  };
  writeFileSync(join(here, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}
