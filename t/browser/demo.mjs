/*
 * The demo, as a person uses it: several tabs, a publisher beside them, lost
 * connections. Starts its own nginx on a free port and ends by itself.
 */

import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)),
                          '../..');
const MODULE = path.join(ROOT, 'objs/ngx_http_gateway_module.so');
const PREPARE = path.join(ROOT, 'conf.example/demo/prepare.sh');
const NGINX = process.env.TEST_NGINX_BINARY ?? 'nginx';
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const TIMEOUT = 10_000;

const CHROMIUM_ARGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
];

let port;
let browser;
let done = 0;
let failures = 0;

/* What the pages complained about, and whether lost connections may be. */

const complaints = [];
let losing = false;


async function test(name, body) {
    let result = 'ok';

    try {
        await body();

    } catch (error) {
        result = 'not ok';
        failures++;
        console.log(String(error.stack).replace(/^/gm, '# '));
    }

    console.log(`${result} ${++done} - ${name}`);
}


function equal(got, expected, what) {
    if (JSON.stringify(got) !== JSON.stringify(expected)) {
        throw new Error(`${what}: ${JSON.stringify(got)}, `
                        + `not ${JSON.stringify(expected)}`);
    }
}


/* Polls until condition() gives something true, and returns it. */

async function until(what, condition) {
    const end = Date.now() + TIMEOUT;

    for ( ;; ) {
        const value = await condition();

        if (value) {
            return value;
        }

        if (Date.now() > end) {
            throw new Error(`${what}: not within ${TIMEOUT} ms`);
        }

        await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
}


function freePort() {
    return new Promise((resolve, reject) => {
        const server = net.createServer().on('error', reject);

        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();

            server.close(() => resolve(port));
        });
    });
}


async function startNginx(dir) {
    execFileSync(PREPARE, [dir, String(port)]);

    const nginx = spawn(NGINX, ['-p', dir, '-c', 'nginx.conf',
                                '-g', 'daemon off;'],
                        { stdio: ['ignore', 'inherit', 'inherit'] });

    nginx.ended = new Promise((resolve) => {
        nginx.on('exit', resolve);
        nginx.on('error', resolve);
    });

    await until('nginx answers', async () => {
        if (nginx.exitCode !== null) {
            throw new Error(`nginx ended with ${nginx.exitCode}`);
        }

        return fetch(`http://127.0.0.1:${port}/`).then((r) => r.ok,
                                                       () => false);
    });

    return nginx;
}


/* Processes whose parent is the master: its workers. */

function workers(master) {
    return fs.readdirSync('/proc').filter((pid) => {
        try {
            const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
            const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2)
                .split(' ');

            return Number(parent) === master && state !== 'Z';

        } catch {
            return false;        /* not a process, or gone */
        }
    }).map(Number);
}


async function openTab() {
    const page = await browser.newPage();

    page.setDefaultTimeout(TIMEOUT);

    page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())
            && !(losing && /WebSocket connection to/.test(message.text())))
        {
            complaints.push(message.text());
        }
    });
    page.on('pageerror', (error) => complaints.push(String(error)));

    await page.goto(`http://127.0.0.1:${port}/`);
    await connected(page);

    return page;
}


/* Connected, and on the channel that everybody is on. */

async function connected(page) {
    await page.waitForSelector('#state[data-state="open"]');
    await page.waitForSelector('#target option[value="demo:lobby"]',
                               { state: 'attached' });
}


/* Which connection the page has; another one after a reconnection. */

function connectionId(page) {
    return page.textContent('#connection');
}


/* One connection each, so that none is lost with a worker that is killed. */

function publish(body, channel = 'demo:lobby') {
    return new Promise((resolve, reject) => {
        const request = http.request({
            host: '127.0.0.1', port, path: `/pub?channel=${channel}`,
            method: 'POST', agent: false, timeout: TIMEOUT,
            headers: { 'Content-Type': 'application/json' },
        });

        request.on('error', reject);
        request.on('timeout', () => request.destroy(new Error('time-out')));
        request.on('response', async (response) => {
            let text = '';

            for await (const chunk of response) {
                text += chunk;
            }

            resolve({ status: response.statusCode, ...JSON.parse(text) });
        });
        request.end(JSON.stringify(body));
    });
}


/* The texts of the messages shown, in order. */

function shown(page) {
    return page.$$eval('#log .message .body',
                       (all) => all.map((node) => node.textContent));
}


/* Waits until the last message is shown, and returns the texts from the first
 * one on, so that whatever came twice or in between is among them. */

async function shownBetween(page, first, last) {
    const texts = await until(`"${last}" is shown`, async () => {
        const all = await shown(page);

        return all.includes(last) && all;
    });

    return texts.slice(texts.indexOf(first), texts.lastIndexOf(last) + 1);
}


async function say(page, text) {
    await page.fill('#text', text);
    await page.click('#publish button');
}


async function subscribe(page, channel) {
    await page.fill('#resource', channel);
    await page.click('#subscribe button');
}


async function tests(nginx) {
    let alice;
    let bob;

    /* Without this nothing else can be tested, and main() bails out. */

    alice = await openTab();
    bob = await openTab();

    await test('two tabs connect as different users', async () => {
        equal([await alice.textContent('#user'), await bob.textContent('#user')],
              ['alice', 'bob'], 'users');
    });

    await test('each tab shows what the other one publishes', async () => {
        await say(alice, 'from alice');
        await until('alice has it', async () => (await shown(alice)).length);
        await say(bob, 'from bob');

        for (const page of [alice, bob]) {
            equal(await shownBetween(page, 'from alice', 'from bob'),
                  ['from alice', 'from bob'], 'messages');
        }
    });

    await test('both show what a service publishes, once, in order',
               async () => {
        const texts = [];

        for (let i = 1; i <= 20; i++) {
            const { status, subscribers, sequenceNumber }
                = await publish({ text: `service ${i}` });

            texts.push(`service ${i}`);
            equal([status, subscribers, sequenceNumber], [201, 2, i + 2],
                  'answer');
        }

        for (const page of [alice, bob]) {
            equal(await shownBetween(page, texts[0], texts.at(-1)), texts,
                  'messages');
        }
    });

    await test('a channel of one tab is not shown in the other', async () => {
        await subscribe(bob, 'demo:news');
        await bob.waitForSelector('#target option[value="demo:news"]',
                                  { state: 'attached' });

        equal((await publish({ text: 'news' }, 'demo:news')).subscribers, 1,
              'subscribers');
        await publish({ text: 'after the news' });

        equal(await shownBetween(bob, 'news', 'after the news'),
              ['news', 'after the news'], 'messages of bob');
        await shownBetween(alice, 'after the news', 'after the news');
        equal((await shown(alice)).includes('news'), false, 'alice has it');
    });

    await test('after leaving a channel nothing comes from it', async () => {
        await bob.click('[aria-label="Leave: demo:news"]');
        await bob.waitForSelector('#target option[value="demo:news"]',
                                  { state: 'detached' });

        equal((await publish({ text: 'late news' }, 'demo:news')).status, 202,
              'status');
    });

    await test('a channel that is not allowed is refused', async () => {
        await subscribe(bob, 'user:alice');
        await until('the refusal is shown', async () => {
            const text = await bob.textContent('#problem');

            return text.includes('forbidden') && text.includes('user:alice');
        });
    });

    await test('what was published while disconnected is recovered, once',
               async () => {
        await bob.click('#toggle');
        await bob.waitForSelector('#state[data-state="offline"]');
        await until('the server has noticed', async () => (
            (await publish({ text: 'away' })).subscribers === 1));

        const { sequenceNumber } = await publish({ text: 'last away' });

        await bob.click('#toggle');
        await connected(bob);
        await shownBetween(bob, 'last away', 'last away');
        await publish({ text: 'back' });

        const texts = await shownBetween(bob, 'away', 'back');

        equal([texts.at(-2), texts.at(-1)], ['last away', 'back'], 'the end');

        /* Every number up to the last one, from the first on, just once. */

        const numbers = await bob.$$eval(
            '#log .message[data-resource="demo:lobby"]',
            (all) => all.map((node) => Number(node.dataset.sequence)));

        equal(numbers, Array.from({ length: sequenceNumber + 1 },
                                  (_, i) => i + 1), 'sequence numbers');

        const recovered = await bob.$$eval(
            '#log .message:has(.badge)',
            (all) => all.map((node) => Number(node.dataset.sequence)));

        equal(recovered.at(-1), sequenceNumber, 'the last one recovered');
    });

    await test('a reloaded page has the same user, and gets the history',
               async () => {
        await bob.reload();
        await connected(bob);
        equal(await bob.textContent('#user'), 'bob', 'user');

        await bob.click('[aria-label="Earlier: demo:lobby"]');
        await shownBetween(bob, 'from alice', 'back');
    });

    await test('after all workers were killed both are back by themselves',
               async () => {
        const pages = [alice, bob];
        const before = await Promise.all(pages.map(connectionId));
        const old = workers(nginx.pid);

        losing = true;
        old.forEach((pid) => process.kill(pid, 'SIGKILL'));

        await publish({ text: 'meanwhile' });

        for (const [i, page] of pages.entries()) {
            await until('a new connection', async () => (
                await connectionId(page) !== before[i]));
            await connected(page);
        }

        losing = false;
        await until('both are subscribed', async () => (
            (await publish({ text: 'again' })).subscribers === 2));
        await publish({ text: 'last' });

        for (const page of pages) {
            const texts = await shownBetween(page, 'meanwhile', 'last');

            equal(texts.filter((text) => text === 'meanwhile').length, 1,
                  'times shown');
            equal(texts.filter((text) => text === 'last').length, 1,
                  'times shown');
        }
    });

    await test('the pages had nothing to complain about', async () => {
        equal(complaints, [], 'console');
    });
}


async function main() {
    if (!fs.existsSync(MODULE)) {
        throw new Error(`${MODULE} is missing: ./build.sh builds it`);
    }

    const dir = fs.mkdtempSync(path.join(ROOT, 'objs/browser-'));
    let nginx;

    try {
        port = await freePort();
        nginx = await startNginx(dir);
        browser = await chromium.launchPersistentContext(
            path.join(dir, 'chromium'),
            { executablePath: CHROMIUM, args: CHROMIUM_ARGS });

        await tests(nginx);

    } finally {
        await browser?.close();

        if (nginx?.exitCode === null) {
            nginx.kill('SIGTERM');
            await nginx.ended;
        }

        if (failures !== 0 && fs.existsSync(`${dir}/error.log`)) {
            console.log(fs.readFileSync(`${dir}/error.log`, 'utf8').trim()
                .replace(/^/gm, '# '));
        }

        fs.rmSync(dir, { recursive: true, force: true });
    }

    console.log(`1..${done}`);
    console.log(`# ${done - failures} passed, ${failures} failed`);
}


main().then(() => {
    process.exitCode = failures === 0 ? 0 : 1;
}, (error) => {
    console.log(`Bail out! ${error.message}`);
    process.exitCode = 1;
});
