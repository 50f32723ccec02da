// Producer or worker of the BullMQ peer: node bullmq.mjs producer|worker SITE_JSON
// It does what child.py does for the Python clients; BULLMQ_DIR has the package.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const { Queue, QueueEvents, Worker } = createRequire(`${process.env.BULLMQ_DIR}/`)('bullmq');

const LATE_NS = 2_000_000n; // A job that is sent so much after its time counts from its time.
const CALL_MS = 10_000;

const [role, fields] = process.argv.slice(2);
const site = JSON.parse(fields);
const connection = { host: '127.0.0.1', port: site.store_port, maxRetriesPerRequest: null };
const nowNs = () => process.hrtime.bigint();
const payload = (sentNs = nowNs()) => String(sentNs).padStart(20, '0').padEnd(100, 'x');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function work() {
  const marks = fs.openSync(site.marks, 'a');
  new Worker('bench', async (job) => {
    const pair = Buffer.allocUnsafe(16);
    pair.writeBigInt64LE(BigInt(job.data.payload.slice(0, 20)), 0);
    pair.writeBigInt64LE(nowNs(), 8);
    fs.writeSync(marks, pair);
    return 1;
  }, { connection, concurrency: site.concurrency });
}

async function produce() {
  const removed = { removeOnComplete: true };
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();

  const put = (sentNs, options = removed) =>
    queue.add('noop', { payload: payload(sentNs) }, options);
  const stamp = (dueNs) => {
    const sentNs = nowNs();
    return sentNs - dueNs > LATE_NS ? dueNs : sentNs;
  };
  const bulk = async (jobs, batch) => {
    for (let at = 0; at < jobs; at += batch) {
      const part = Array.from({ length: Math.min(batch, jobs - at) },
        () => ({ name: 'noop', data: { payload: payload() }, opts: removed }));
      await queue.addBulk(part);
    }
  };
  const lanes = async (jobs, inFlight) => {
    let left = jobs;
    const lane = async () => { while (left-- > 0) await put(); };
    await Promise.all(Array.from({ length: inFlight }, lane));
  };
  const atRate = async (begunNs, order, send) => {
    const sent = [];
    for (let number = 0; number < Math.floor(order.per_s * order.seconds); number++) {
      const dueNs = begunNs + BigInt(Math.round(number * 1e9 / order.per_s));
      const earlyMs = Number(dueNs - nowNs()) / 1e6;
      if (earlyMs > 0) await sleep(earlyMs);
      sent.push(send(dueNs));
    }
    return Promise.all(sent);
  };
  const say = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);

  say({ can: ['put', 'put_many', 'call', 'conc'] });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    // Open for calls only: it reads an event of every job.
    const events = order.do === 'call' ? new QueueEvents('bench', { connection }) : null;
    await events?.waitUntilReady();
    const call = async (dueNs) => {
      const sentNs = stamp(dueNs);
      await (await put(sentNs, { removeOnComplete: 1000 })).waitUntilFinished(events, CALL_MS);
      return Number(nowNs() - sentNs) / 1e6;
    };
    const begunNs = nowNs();
    let tookMs = [];
    if (order.do === 'put') await lanes(order.jobs, 1);
    else if (order.do === 'conc') await lanes(order.jobs, order.in_flight);
    else if (order.do === 'bulk') await bulk(order.jobs, order.batch);
    else if (order.do === 'rate') await atRate(begunNs, order, (dueNs) => put(stamp(dueNs)));
    else tookMs = await atRate(begunNs, order, call);
    const endedNs = nowNs();
    await events?.close();
    say({ begun_ns: Number(begunNs), ended_ns: Number(endedNs), took_ms: tookMs });
  }
  process.exit(0);
}

if (role === 'worker') work();
else await produce();
