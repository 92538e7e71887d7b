// The npm package redis (node-redis): its typed vector-set helpers and the rest of
// what an application does, over RESP3 (its default) and RESP2.
import { createClient } from 'redis';
import { test, run, near, assert } from './tap.mjs';

const port = Number(process.argv[2]);

for (const RESP of [3, 2]) {
  const open = () => createClient({ socket: { host: '127.0.0.1', port }, RESP }).connect();
  const name = (what) => `RESP${RESP}: ${what}`;

  test(name('connects and pings'), async () => {
    const c = await open();
    assert.equal(await c.ping(), 'PONG');
    await c.close();
  });

  test(name('strings, numbers and expiry'), async () => {
    const c = await open();
    await c.flushAll();
    assert.equal(await c.set('a', 'héllo'), 'OK');
    assert.equal(await c.get('a'), 'héllo');
    assert.equal(await c.incrBy('n', 5), 5);
    assert.deepEqual(await c.mGet(['a', 'none', 'n']), ['héllo', null, '5']);
    await c.expire('a', 100);
    assert.ok((await c.ttl('a')) > 90);
    assert.equal(await c.del(['a', 'n']), 2);
    await c.close();
  });

  test(name('vAdd, vCard, vDim, vSim and their kin'), async () => {
    const c = await open();
    await c.flushAll();
    assert.equal(await c.vAdd('v', [1, 0, 0], 'x'), true);
    assert.equal(await c.vAdd('v', [0.9, 0.1, 0], 'y', { SETATTR: { n: 7 } }), true);
    assert.equal(await c.vAdd('v', [0, 0, 1], 'z'), true);
    assert.equal(await c.vAdd('v', [0, 0, 1], 'z'), false);
    assert.equal(await c.vCard('v'), 3);
    assert.equal(await c.vDim('v'), 3);
    assert.deepEqual(await c.vSim('v', [1, 0, 0], { COUNT: 2 }), ['x', 'y']);
    assert.deepEqual(await c.vSim('v', 'x', { COUNT: 1 }), ['x']);
    assert.deepEqual(await c.vSim('none', [1, 0, 0]), []);
    const scores = await c.vSimWithScores('v', [1, 0, 0]);
    assert.deepEqual(Object.keys(scores), ['x', 'y', 'z']);
    near(scores.x, 1);
    near(scores.z, 0.5);
    assert.deepEqual(await c.vSim('v', 'x', { FILTER: '.n == 7' }), ['y']);
    assert.equal(await c.vRem('v', 'z'), true);
    assert.equal(await c.vRem('v', 'z'), false);
    await c.close();
  });

  test(name('vEmb, vEmbRaw, vLinks, vInfo'), async () => {
    const c = await open();
    await c.flushAll();
    await c.vAdd('v', [3, 4], 'p');
    await c.vAdd('v', [4, 3], 'q');
    const vector = await c.vEmb('v', 'p');
    near(vector[0], 3, 0.05);
    near(vector[1], 4, 0.05);
    const raw = await c.vEmbRaw('v', 'p');
    assert.equal(raw.quantization, 'int8');
    near(raw.l2Norm, 5);
    near(raw.quantizationRange, 0.8);
    assert.deepEqual(await c.vLinks('v', 'p'), [['q']]);
    const links = await c.vLinksWithScores('v', 'p');
    near(links[0].q, 0.98, 0.01);
    const info = await c.vInfo('v');
    assert.equal(info['quant-type'], 'int8');
    assert.equal(info['vector-dim'], 2);
    assert.equal(info.size, 2);
    await c.close();
  });

  test(name('vAdd with every option'), async () => {
    const c = await open();
    await c.flushAll();
    const options = { QUANT: 'NOQUANT', CAS: true, EF: 100, M: 8, SETATTR: { n: 1 } };
    assert.equal(await c.vAdd('f', [1, 2, 3], 'e', options), true);
    assert.equal(await c.vAdd('b', [1, -2, 3], 'e', { QUANT: 'BIN' }), true);
    assert.equal(await c.vAdd('r', [1, 2, 3, 4], 'e', { REDUCE: 2 }), true);
    assert.deepEqual((await c.vEmb('f', 'e')).map((x) => Math.round(x * 1000) / 1000), [1, 2, 3]);
    assert.equal((await c.vEmbRaw('f', 'e')).quantization, 'f32');
    const raw = await c.vEmbRaw('b', 'e');
    assert.equal(raw.quantization, 'bin');
    near(raw.l2Norm, Math.sqrt(14));
    assert.equal(raw.quantizationRange, undefined);
    const info = await c.vInfo('f');
    assert.equal(info['quant-type'], 'f32');
    assert.equal(info['hnsw-m'], 8);
    assert.equal(info['attributes-count'], 1);
    const reduced = await c.vInfo('r');
    assert.equal(reduced['vector-dim'], 2);
    assert.equal(reduced['projection-input-dim'], 4);
    await assert.rejects(c.vAdd('f', [1, 2], 'x', { QUANT: 'NOQUANT', M: 8 }), /Vector dimension mismatch/);
    await assert.rejects(c.vAdd('f', [1, 2, 3], 'x', { QUANT: 'Q8' }), /quantization mismatch/);
    assert.equal(await c.vCard('f'), 1);
    await c.close();
  });

  test(name('vSim and vSimWithScores with every option'), async () => {
    const c = await open();
    await c.flushAll();
    for (let i = 0; i < 40; i++) {
      const angle = (i * Math.PI) / 80;
      await c.vAdd('v', [Math.cos(angle), Math.sin(angle)], `e${i}`,
        { QUANT: 'NOQUANT', SETATTR: { i, even: i % 2 === 0 ? 1 : 0 } });
    }
    const all = { COUNT: 3, EPSILON: 0.9, EF: 50, FILTER: '.even == 1 and .i > 2',
      'FILTER-EF': 100, TRUTH: true, NOTHREAD: true };
    assert.deepEqual(await c.vSim('v', [1, 0], all), ['e4', 'e6', 'e8']);
    const scores = await c.vSimWithScores('v', 'e10', all);
    assert.deepEqual(Object.keys(scores).sort(), ['e10', 'e12', 'e8']);
    near(scores.e10, 1);
    near(scores.e8, (1 + Math.cos(Math.PI / 40)) / 2);
    assert.deepEqual(await c.vSim('v', [1, 0], { EPSILON: 0.0001 }), ['e0']);
    await assert.rejects(c.vSim('v', [1, 0], { FILTER: '.i >' }), /syntax error in FILTER/);
    await assert.rejects(c.vSim('v', [1, 0, 0]), /Vector dimension mismatch/);
    await c.close();
  });

  test(name('attributes'), async () => {
    const c = await open();
    await c.flushAll();
    await c.vAdd('v', [1, 2], 'e');
    assert.equal(await c.vGetAttr('v', 'e'), null);
    assert.equal(await c.vSetAttr('v', 'e', { kind: 'test', n: 1 }), true);
    assert.deepEqual(await c.vGetAttr('v', 'e'), { kind: 'test', n: 1 });
    assert.equal(await c.vSetAttr('v', 'e', ''), true);
    assert.equal(await c.vGetAttr('v', 'e'), null);
    assert.equal(await c.vSetAttr('v', 'nobody', { n: 1 }), false);
    assert.equal(await c.vGetAttr('v', 'nobody'), null);
    await c.close();
  });

  test(name('vRandMember, vRange, and what is not there'), async () => {
    const c = await open();
    await c.flushAll();
    await c.vAdd('v', [1, 2], 'e');
    await c.vAdd('v', [2, 1], 'f');
    assert.ok(['e', 'f'].includes(await c.vRandMember('v')));
    assert.deepEqual([...(await c.vRandMember('v', 5))].sort(), ['e', 'f']);
    assert.equal((await c.vRandMember('v', -5)).length, 5);
    assert.equal(await c.vRandMember('none'), null);
    assert.deepEqual(await c.vRange('v', '-', '+', 10), ['e', 'f']);
    assert.deepEqual(await c.vRange('v', '(e', '+', 10), ['f']);
    assert.equal(await c.vCard('none'), 0);
    if (RESP === 3) assert.equal(await c.vEmb('v', 'nobody'), null); // in RESP2 it throws
    assert.equal(await c.vLinks('v', 'nobody'), null);
    assert.equal(await c.vRem('none', 'e'), false);
    await assert.rejects(c.vDim('none'), /key does not exist/);
    await assert.rejects(c.vSim('v', 'nobody'), /element not found in set/);
    await c.close();
  });

  test(name('vector helpers inside multi and as a pipeline'), async () => {
    const c = await open();
    await c.flushAll();
    const replies = await c.multi()
      .vAdd('v', [1, 0], 'a').vCard('v').vDim('v').vEmb('v', 'a').vSimWithScores('v', [1, 0])
      .vGetAttr('v', 'a').vSetAttr('v', 'a', { n: 1 }).vLinks('v', 'a').vRem('v', 'a')
      .execAsPipeline();
    const plain = JSON.parse(JSON.stringify(replies));
    assert.deepEqual(plain, [true, 1, 2, [1, 0], { a: 1 }, null, true, [[]], true]);
    await c.close();
  });

  test(name('binary blobs through sendCommand'), async () => {
    const c = await open();
    await c.flushAll();
    const blob = Buffer.from(new Float32Array([1, 0, 0, 0, 1, 0]).buffer);
    assert.equal(await c.sendCommand(['VMADD', 'b', '2', 'FP32', blob, 'one', 'two']), 2);
    assert.equal(await c.vCard('b'), 2);
    const query = Buffer.from(new Float32Array([0, 1, 0]).buffer);
    assert.deepEqual(await c.sendCommand(['VSEARCH', 'b', 'FP32', query, 'K', '1']), ['two']);
    await c.close();
  });

  test(name('multi sees its own writes; watch aborts'), async () => {
    const c = await open();
    const other = await open();
    await c.flushAll();
    const replies = await c.multi().vAdd('v', [1, 0], 'a').vSim('v', [1, 0]).set('s', '1').exec();
    assert.equal(replies[0], true);
    assert.deepEqual([...replies[1]], ['a']);
    await c.watch('s');
    await other.set('s', '2');
    await assert.rejects(c.multi().set('s', '3').exec());
    assert.equal(await c.get('s'), '2');
    await c.close();
    await other.close();
  });

  test(name('a thousand searches in flight are answered in order'), async () => {
    const c = await open();
    await c.flushAll();
    for (let i = 0; i < 50; i++) {
      await c.vAdd('v', [Math.cos(i / 50), Math.sin(i / 50)], `e${i}`);
    }
    const all = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => c.vSim('v', `e${i % 50}`, { COUNT: 1 })));
    assert.equal(all.length, 1000);
    assert.ok(all.every((r) => r.length === 1));
    await c.close();
  });

  test(name('scanIterator and errors'), async () => {
    const c = await open();
    await c.flushAll();
    for (let i = 0; i < 300; i++) await c.set(`k${i}`, 'x');
    const seen = new Set();
    for await (const keys of c.scanIterator({ MATCH: 'k*', COUNT: 50 })) {
      for (const k of keys) seen.add(k);
    }
    assert.equal(seen.size, 300);
    await assert.rejects(c.vCard('k1'), /WRONGTYPE/);
    await c.close();
  });
}

await run();
