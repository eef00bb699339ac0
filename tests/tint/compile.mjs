// Compiles kernels with Tint, the WGSL compiler of Chrome, on a device that computes nothing. The first argument is the
// folder with the npm package `webgpu`. Standard input is {texts: [WGSL], kernels: [{text, entry, constants}]}, `text` an
// index; standard output is {complaints: [{kernel, line, message}]}. An error in a text is reported for each of its kernels.
import { readFileSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { create, globals } = await import(pathToFileURL(`${process.argv[2]}/node_modules/webgpu/index.js`));
Object.assign(globalThis, globals);
// Unsafe APIs are not allowed: the compiler accepts what Chrome accepts from a page.
// Kept alive as long as the process: Dawn crashes if they are collected.
const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
globalThis.opened = [gpu, adapter];
const requiredFeatures = ['shader-f16', 'subgroups'];
const device = await adapter.requestDevice({ requiredFeatures, requiredLimits: adapter.limits });

const { texts, kernels } = JSON.parse(readFileSync(0, 'utf8'));

// Dawn's message, if `make` causes an error.
async function refused(make) {
  device.pushErrorScope('validation');
  const made = make();
  return [made, (await device.popErrorScope())?.message];
}

const modules = [];
const messages = [];
for (const code of texts) {
  const [module, error] = await refused(() => device.createShaderModule({ code }));
  const found = (await module.getCompilationInfo()).messages;
  modules.push(module);
  messages.push(found.map(({ type, lineNum, message }) => ({ line: lineNum, message: `${type}: ${message}` })));
  if (error && !found.length) messages.at(-1).push({ line: 0, message: error });
}
const complaints = [];
for (const [kernel, { text, entry, constants }] of kernels.entries()) {
  complaints.push(...messages[text].map((found) => ({ kernel, ...found })));
  if (messages[text].length) continue;
  const compute = { module: modules[text], entryPoint: entry, constants };
  const [, error] = await refused(() => device.createComputePipeline({ layout: 'auto', compute }));
  if (error) complaints.push({ kernel, line: 0, message: error });
}
const answer = Buffer.from(JSON.stringify({ complaints }));
for (let written = 0; written < answer.length;) written += writeSync(1, answer, written);
// Dawn's threads would keep the process alive.
process.exit(0);
