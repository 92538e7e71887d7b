// The npm package ioredis: pipelines, transactions, raw vector commands.
import Redis from 'ioredis';
import { test, run, near, assert } from './tap.mjs';

const port = Number(process.argv[2]);
const open = (options = {}) => new Redis({ host: '127.0.0.1', port, ...options });

test('connects through its ready check', async () => {
  const r = open();
  assert.equal(await r.ping(), 'PONG');
  assert.equal(r.status, 'ready');
  r.disconnect();
});

test('selects a database and names itself', async () => {
  const r = open({ db: 3, connectionName: 'tester' });
  await r.set('here', '1');
  assert.equal(await r.client('GETNAME'), 'tester');
  const zero = open();
  assert.equal(await zero.exists('here'), 0);
  await r.flushdb();
  r.disconnect();
  zero.disconnect();
});

test('strings in a pipeline', async () => {
  const r = open();
  await r.flushall();
  const out = await r.pipeline().set('a', '1').incr('a').get('a').get('none').exec();
  assert.deepEqual(out, [[null, 'OK'], [null, 2], [null, '2'], [null, null]]);
  r.disconnect();
});

test('vector commands by name', async () => {
  const r = open();
  await r.flushall();
  const blob = Buffer.from(new Float32Array([1, 0, 0]).buffer);
  assert.equal(Number(await r.call('VADD', 'v', 'FP32', blob, 'x')), 1);
  assert.equal(Number(await r.call('VADD', 'v', 'VALUES', 3, 0, 1, 0, 'y')), 1);
  assert.deepEqual(await r.call('VSIM', 'v', 'FP32', blob), ['x', 'y']);
  assert.equal(await r.call('VCARD', 'v'), 2);
  await assert.rejects(r.call('VADD', 'v', 'VALUES', 2, 1, 1, 'z'), /Vector dimension mismatch/);
  r.disconnect();
});

test('scores in RESP2 come in pairs', async () => {
  const r = open({ protocol: 2 });
  await r.flushall();
  await r.call('VADD', 'v', 'VALUES', 2, 1, 0, 'x');
  await r.call('VADD', 'v', 'VALUES', 2, -1, 0, 'y');
  const flat = await r.call('VSIM', 'v', 'ELE', 'x', 'WITHSCORES');
  const list = Array.isArray(flat) ? flat.flat() : Object.entries(flat).flat();
  assert.equal(list[0], 'x');
  near(Number(list[1]), 1);
  assert.equal(list[2], 'y');
  near(Number(list[3]), 0);
  r.disconnect();
});

test('multi with a search inside', async () => {
  const r = open();
  await r.flushall();
  const out = await r.multi()
    .call('VADD', 'v', 'VALUES', 2, 1, 0, 'x')
    .call('VSIM', 'v', 'ELE', 'x')
    .exec();
  assert.deepEqual(out[1], [null, ['x']]);
  r.disconnect();
});

test('buffers come back as they were', async () => {
  const r = open();
  const bytes = Buffer.from([0, 1, 2, 253, 254, 255, 13, 10]);
  await r.set('bin', bytes);
  assert.deepEqual(await r.getBuffer('bin'), bytes);
  r.disconnect();
});

test('scanStream sees every key', async () => {
  const r = open();
  await r.flushall();
  for (let i = 0; i < 200; i++) await r.set(`k${i}`, 'x');
  const seen = new Set();
  for await (const keys of r.scanStream({ match: 'k*' })) for (const k of keys) seen.add(k);
  assert.equal(seen.size, 200);
  r.disconnect();
});

test('monitor shows commands', async () => {
  const r = open();
  const watcher = await open().monitor();
  const heard = new Promise((resolve) => watcher.on('monitor', (_, args) => {
    if (args[0].toLowerCase() === 'set') resolve(args);
  }));
  await r.set('watched', 'yes');
  assert.deepEqual((await heard).slice(1), ['watched', 'yes']);
  watcher.disconnect();
  r.disconnect();
});

await run();
