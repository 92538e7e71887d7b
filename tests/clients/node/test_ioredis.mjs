// The npm package ioredis: its vector-set methods, pipelines and transactions, over
// RESP3 (its default) and RESP2.
import Redis from 'ioredis';
import { test, run, near, assert } from './tap.mjs';

const port = Number(process.argv[2]);

// Runs `body` with a connection and closes it, whatever happens.
async function using(options, body) {
  const r = new Redis({ host: '127.0.0.1', port, ...options });
  try {
    await r.flushall();
    await body(r);
  } finally {
    r.disconnect();
  }
}

const floats = (...numbers) => Buffer.from(new Float32Array(numbers).buffer);

for (const protocol of [3, 2]) {
  const check = (what, body) =>
    test(`RESP${protocol}: ${what}`, () => using({ protocol }, body));

  check('connects through its ready check', async (r) => {
    assert.equal(await r.ping(), 'PONG');
    assert.equal(r.status, 'ready');
    const hello = await r.call('HELLO');
    assert.equal(hello[hello.indexOf('proto') + 1], protocol);
  });

  check('selects a database and names itself', async (zero) => {
    await using({ protocol, db: 3, connectionName: 'tester' }, async (r) => {
      await r.set('here', '1');
      assert.equal(await r.client('GETNAME'), 'tester');
      assert.equal(await zero.exists('here'), 0);
    });
  });

  check('strings in a pipeline', async (r) => {
    const out = await r.pipeline().set('a', '1').incr('a').get('a').get('none').exec();
    assert.deepEqual(out, [[null, 'OK'], [null, 2], [null, '2'], [null, null]]);
  });

  check('an error in a pipeline is the error of its command', async (r) => {
    const out = await r.pipeline().set('a', 'x').vcard('a').get('a').exec();
    assert.equal(out[0][1], 'OK');
    assert.match(out[1][0].message, /^WRONGTYPE/);
    assert.equal(out[2][1], 'x');
  });

  check('vadd, vsim, vcard, vdim, vismember, vrem', async (r) => {
    assert.equal(await r.vadd('v', 'FP32', floats(1, 0, 0), 'x'), 1);
    assert.equal(await r.vadd('v', 'VALUES', 3, 0, 1, 0, 'y', 'SETATTR', '{"n":1}'), 1);
    assert.equal(await r.vadd('v', 'VALUES', 3, 0, 1, 0, 'y'), 0);
    assert.deepEqual(await r.vsim('v', 'FP32', floats(1, 0, 0)), ['x', 'y']);
    assert.deepEqual(await r.vsim('v', 'ELE', 'x', 'WITHSCORES'), ['x', '1', 'y', '0.5']);
    assert.deepEqual(await r.vsim('v', 'ELE', 'x', 'WITHSCORES', 'WITHATTRIBS'),
      ['x', '1', null, 'y', '0.5', '{"n":1}']);
    assert.deepEqual(await r.vsimBuffer('v', 'ELE', 'y', 'COUNT', 1), [Buffer.from('y')]);
    assert.deepEqual(await r.vsim('v', 'ELE', 'x', 'FILTER', '.n == 1'), ['y']);
    assert.equal(await r.vcard('v'), 2);
    assert.equal(await r.vdim('v'), 3);
    assert.equal(await r.vismember('v', 'x'), 1);
    assert.equal(await r.vismember('v', 'z'), 0);
    assert.equal(await r.vrem('v', 'x'), 1);
    assert.equal(await r.vrem('v', 'x'), 0);
    await assert.rejects(r.vadd('v', 'VALUES', 2, 1, 1, 'z'), /Vector dimension mismatch/);
    await assert.rejects(r.vdim('none'), /key does not exist/);
  });

  check('vemb, vlinks, vinfo, vrandmember, vrange', async (r) => {
    for (const [name, ...v] of [['a', 1, 0], ['b', 0, 1], ['c', -1, 0]]) {
      await r.vadd('v', 'VALUES', 2, ...v, name);
    }
    assert.deepEqual(await r.vemb('v', 'b'), ['0', '1']);
    assert.equal(await r.vemb('v', 'none'), null);
    assert.deepEqual(await r.vembBuffer('v', 'b', 'RAW'),
      [Buffer.from('int8'), Buffer.from([0, 127]), Buffer.from('1'), Buffer.from('1')]);
    assert.deepEqual(await r.vlinks('v', 'a'), [['b', 'c']]);
    assert.deepEqual(await r.vlinks('v', 'a', 'WITHSCORES'), [['b', '0.5', 'c', '0']]);
    const info = await r.vinfo('v');
    assert.equal(info[info.indexOf('quant-type') + 1], 'int8');
    assert.equal(info[info.indexOf('size') + 1], 3);
    assert.ok(['a', 'b', 'c'].includes(await r.vrandmember('v')));
    assert.deepEqual((await r.vrandmember('v', 10)).sort(), ['a', 'b', 'c']);
    assert.equal((await r.vrandmember('v', -10)).length, 10);
    assert.deepEqual(await r.vrange('v', '-', '[b', 10), ['a', 'b']);
  });

  check('vsetattr, vgetattr', async (r) => {
    await r.vadd('v', 'VALUES', 2, 1, 0, 'x');
    assert.equal(await r.vgetattr('v', 'x'), null);
    assert.equal(await r.vsetattr('v', 'x', '{"year": 1986}'), 1);
    assert.equal(await r.vgetattr('v', 'x'), '{"year": 1986}');
    assert.equal(await r.vsetattr('v', 'x', ''), 1);
    assert.equal(await r.vgetattr('v', 'x'), null);
    assert.equal(await r.vsetattr('v', 'none', '{}'), 0);
  });

  check('commands of ours by name, in a pipeline of blobs', async (r) => {
    assert.equal(await r.call('VCREATE', 'l2', 'DIM', 2, 'METRIC', 'L2', 'NOQUANT'), 'OK');
    assert.equal(
      await r.call('VMADD', 'l2', 3, 'FP32', floats(0, 0, 3, 4, 6, 8), 'o', 'p', 'q'), 3);
    const queries = Array.from({ length: 500 }, (_, i) => floats(3 * (i % 3), 4 * (i % 3)));
    const pipe = r.pipeline();
    for (const q of queries) pipe.call('VSEARCH', 'l2', 'FP32', q, 'K', 2, 'WITHDISTANCES');
    (await pipe.exec()).forEach(([error, found], i) => {
      assert.equal(error, null);
      assert.equal(found[0], 'opq'[i % 3]);
      near(Number(found[1]), 0);
      near(Number(found[3]), 5);
    });
  });

  check('a transaction sees its own writes', async (r) => {
    const out = await r.multi().vadd('v', 'VALUES', 2, 1, 0, 'x').vsim('v', 'ELE', 'x').exec();
    assert.deepEqual(out, [[null, 1], [null, ['x']]]);
  });

  check('a watched key that changed aborts', async (r) => {
    await using({ protocol }, async (other) => {
      await r.vadd('v', 'VALUES', 2, 1, 0, 'x');
      await r.watch('v');
      await other.vsetattr('v', 'x', '{"n":1}');
      assert.equal(await r.multi().vrem('v', 'x').exec(), null);
      assert.equal(await r.vcard('v'), 1);
    });
  });

  check('buffers come back as they were', async (r) => {
    const bytes = Buffer.from([0, 1, 2, 253, 254, 255, 13, 10]);
    await r.set(bytes, bytes);
    assert.deepEqual(await r.getBuffer(bytes), bytes);
    await r.vadd('v', 'FP32', floats(1, 2), bytes);
    assert.deepEqual(await r.vsimBuffer('v', 'ELE', bytes), [bytes]);
  });

  check('scanStream sees every key', async (r) => {
    const pipe = r.pipeline();
    for (let i = 0; i < 200; i++) pipe.set(`k${i}`, 'x');
    await pipe.vadd('v', 'VALUES', 1, 1, 'e').exec();
    const seen = new Set();
    for await (const keys of r.scanStream({ match: 'k*' })) for (const k of keys) seen.add(k);
    assert.equal(seen.size, 200);
    const sets = [];
    for await (const keys of r.scanStream({ type: 'vectorset' })) sets.push(...keys);
    assert.deepEqual(sets, ['v']);
  });

  check('comes back after it was killed', async (r) => {
    const id = await r.client('ID');
    await using({ protocol }, async (other) => {
      assert.equal(await other.client('KILL', 'ID', id), 1);
    });
    assert.equal(await r.set('back', '1'), 'OK');
    assert.notEqual(await r.client('ID'), id);
  });

  check('an unknown command is refused and the connection goes on', async (r) => {
    await assert.rejects(r.call('NOSUCH', 'x'), /unknown command 'NOSUCH'/);
    assert.equal(await r.ping(), 'PONG');
  });

  check('monitor shows commands', async (r) => {
    const watcher = await r.duplicate().monitor();
    try {
      const heard = new Promise((resolve) => watcher.on('monitor', (_, args) => {
        if (args[0].toLowerCase() === 'set') resolve(args);
      }));
      await r.set('watched', 'yes');
      assert.deepEqual((await heard).slice(1), ['watched', 'yes']);
    } finally {
      watcher.disconnect();
    }
  });
}

test('RESP3 types as objects and numbers', () =>
  using({ protocol: 3, replyMapping: 'resp3' }, async (r) => {
    await r.vadd('v', 'VALUES', 2, 1, 0, 'x');
    await r.vadd('v', 'VALUES', 2, 0, 1, 'y', 'SETATTR', '{"n":1}');
    assert.deepEqual({ ...(await r.vsim('v', 'ELE', 'x', 'WITHSCORES')) }, { x: 1, y: 0.5 });
    assert.deepEqual({ ...(await r.vsim('v', 'ELE', 'x', 'WITHSCORES', 'WITHATTRIBS')) },
      { x: [1, null], y: [0.5, '{"n":1}'] });
    assert.deepEqual(await r.vemb('v', 'y'), [0, 1]);
    assert.equal((await r.vinfo('v'))['vector-dim'], 2);
    assert.deepEqual((await r.vlinks('v', 'x', 'WITHSCORES')).map((l) => ({ ...l })), [{ y: 0.5 }]);
    assert.equal(await r.vismember('v', 'x'), true);
  }));

await run();
