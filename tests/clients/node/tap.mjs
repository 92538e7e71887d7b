// Tests one after the other, a line each.
import assert from 'node:assert/strict';

const tests = [];

export function test(name, body) {
  tests.push({ name, body });
}

export async function run() {
  let failed = 0;
  for (const { name, body } of tests) {
    try {
      await body();
      console.log(`ok - ${name}`);
    } catch (error) {
      failed++;
      console.log(`not ok - ${name}`);
      console.log(String(error.stack).split('\n').slice(0, 12).map((l) => `    ${l}`).join('\n'));
    }
  }
  process.exit(failed ? 1 : 0);
}

export function near(got, want, tolerance = 1e-4) {
  assert.ok(Math.abs(got - want) <= tolerance, `${got} is not within ${tolerance} of ${want}`);
}

export { assert };
