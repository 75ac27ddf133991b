/*
 * The demo's page: what client.js reports is shown, what is clicked is asked.
 */

import { Client } from './client.js';

const MAX_LINES = 500;

const $ = (id) => document.getElementById(id);


/* Which user this tab is. Of several tabs each takes another one: those that
 * are open answer with theirs. */

async function chooseUser(users) {
    const asked = new URLSearchParams(location.search).get('user')
                  ?? sessionStorage.getItem('user');
    const taken = new Set();
    const tabs = new BroadcastChannel('gateway-demo');
    let mine = null;

    tabs.onmessage = ({ data }) => {
        if (data.question && mine !== null) {
            tabs.postMessage({ taken: mine });

        } else if (data.taken) {
            taken.add(data.taken);
        }
    };

    if (!users.includes(asked)) {
        tabs.postMessage({ question: true });
        await new Promise((resolve) => { setTimeout(resolve, 100); });
        mine = users.find((user) => !taken.has(user)) ?? users[0];

    } else {
        mine = asked;
    }

    sessionStorage.setItem('user', mine);

    return mine;
}


async function fetchTokens() {
    const response = await fetch('tokens.json', { cache: 'no-store' });

    if (!response.ok) {
        throw new Error(`tokens.json: ${response.status}`);
    }

    return response.json();
}


function element(name, className, text) {
    const node = document.createElement(name);

    node.className = className;
    node.textContent = text;

    return node;
}


function time(stamp) {
    return new Date(stamp).toLocaleTimeString([], { hour12: false });
}


/* The log of messages. */

const log = {
    count: 0,

    /* In the order of time, so that what is recovered stands where it was. */

    add(line, at) {
        const scroll = $('log').parentElement;
        const atEnd = scroll.scrollHeight - scroll.scrollTop
                      - scroll.clientHeight < 40;

        $('empty').hidden = true;
        line.dataset.at = at;

        let before = $('log').lastElementChild;

        while (before !== null && Number(before.dataset.at) > at) {
            before = before.previousElementSibling;
        }

        if (before === null) {
            $('log').prepend(line);
        } else {
            before.after(line);
        }

        while ($('log').children.length > MAX_LINES) {
            $('log').firstElementChild.remove();
        }

        if (atEnd) {
            scroll.scrollTop = scroll.scrollHeight;
        }
    },

    note(text) {
        this.add(element('li', 'note', text), Date.now());
    },

    message(message) {
        const { resource, sequenceNumber, type, payload, recovered } = message;
        const line = element('li', 'message', '');
        const meta = element('div', 'meta', '');

        /* Who sent it is what the sender says: the page below puts it in. */

        meta.append(element('span', 'from', payload?.from ?? type),
                    element('span', '', `${resource} #${sequenceNumber}`),
                    element('time', '', time(message.timestamp)));

        if (recovered) {
            meta.append(element('span', 'badge', 'recovered'));

        } else {
            const late = Date.now() - Date.parse(message.timestamp);

            meta.append(element('span', '', `${Math.max(0, late)} ms`));
        }

        line.dataset.resource = resource;
        line.dataset.sequence = sequenceNumber;
        line.append(meta, element('div', 'body', bodyOf(payload)));

        this.add(line, Date.parse(message.timestamp));
        $('count').textContent = ++this.count;
    },

    clear() {
        this.count = 0;
        $('log').replaceChildren();
        $('count').textContent = 0;
        $('empty').hidden = false;
    },
};


function bodyOf(payload) {
    const body = payload?.text ?? payload;

    return typeof body === 'string' ? body : JSON.stringify(body, null, 1);
}


/* The list of channels: name, last number, what can be done there. */

const channels = {
    rows: new Map(),

    join(resource, actions) {
        if (this.rows.has(resource)) {
            return;
        }

        const row = document.createElement('li');
        const number = element('span', 'count', '');

        row.append(element('span', 'channel-name', resource), number);

        for (const [name, action] of Object.entries(actions)) {
            const button = element('button', 'quiet', name);

            button.type = 'button';
            button.setAttribute('aria-label', `${name}: ${resource}`);
            button.onclick = () => action(resource);
            row.append(button);
        }

        this.rows.set(resource, { row, number });
        $('channels').append(row);
        $('target').append(new Option(resource, resource));
    },

    left(resource) {
        this.rows.get(resource)?.row.remove();
        this.rows.delete(resource);

        for (const option of [...$('target').options]) {
            if (option.value === resource) {
                option.remove();
            }
        }
    },

    seen(resource, sequenceNumber) {
        const entry = this.rows.get(resource);

        if (entry !== undefined) {
            entry.number.textContent = `#${sequenceNumber}`;
        }
    },
};


function showState({ state, delay, code, reason }) {
    const why = [code, reason].filter(Boolean).join(' ');

    $('state').dataset.state = state;
    $('state').textContent = {
        offline: 'offline',
        connecting: 'connecting …',
        open: 'connected',
        waiting: `reconnecting in ${(delay / 1000).toFixed(1)} s`,
    }[state];
    $('state').title = why;

    $('toggle').textContent = state === 'offline' ? 'Connect' : 'Disconnect';
    $('publish').querySelector('button').disabled = state !== 'open';
    $('subscribe').querySelector('button').disabled = state !== 'open';

    if (state === 'waiting') {
        log.note(`connection lost${why ? ` (${why})` : ''}`);
    }
}


function showProblem(error) {
    const which = error?.details?.resources?.join(', ');

    $('problem').textContent = error
        ? `${error.code}: ${error.message}${which ? ` (${which})` : ''}` : '';
}


/* Runs what a button asks for, and shows what is refused. */

async function attempt(action) {
    showProblem(null);

    try {
        await action();
    } catch (error) {
        showProblem(error);
    }
}


function listen(client, user) {
    const on = (name, handler) => {
        client.addEventListener(name, ({ detail }) => handler(detail));
    };
    const actions = {
        Earlier: (resource) => attempt(() => client.earlier(resource)),
        Leave: (resource) => attempt(() => client.unsubscribe(resource)),
    };

    on('state', showState);
    on('problem', showProblem);
    on('latency', ({ milliseconds }) => {
        $('latency').textContent = `${milliseconds.toFixed(1)} ms`;
    });

    on('established', ({ connectionId, userId, expiresAt }) => {
        $('user').textContent = userId ?? 'nobody';
        $('connection').textContent = connectionId;
        $('expires').textContent = expiresAt
            ? new Date(expiresAt).toLocaleString([], { hour12: false }) : '–';
        document.title = `${userId} – Gateway demo`;
    });

    on('channel', ({ resource, subscribed, recovered }) => {
        if (!subscribed) {
            channels.left(resource);
            return;
        }

        channels.join(resource, actions);

        if (recovered !== undefined) {
            log.note(recovered ? `${resource}: joined again, nothing is lost`
                               : `${resource}: what was missed is gone`);
        }
    });

    on('message', (message) => {
        channels.seen(message.resource, message.sequenceNumber);
        log.message(message);
    });

    $('toggle').onclick = () => {
        if (client.state === 'offline') {
            client.connect();
        } else {
            client.close();
        }
    };

    $('subscribe').onsubmit = (event) => {
        event.preventDefault();
        attempt(() => client.subscribe($('resource').value.trim()));
    };

    $('publish').onsubmit = (event) => {
        event.preventDefault();
        attempt(async () => {
            await client.publish($('target').value,
                                 dataOf($('text').value, user));
            $('text').value = '';
            $('text').focus();
        });
    };

    addEventListener('online', () => {
        if (client.state === 'waiting') {
            client.connect();
        }
    });
}


/* A JSON object is sent as it is, anything else as a text with its sender. */

function dataOf(text, from) {
    try {
        const data = JSON.parse(text);

        if (typeof data === 'object' && data !== null) {
            return data;
        }
    } catch {
        /* a plain text */
    }

    return { text, from };
}


async function start() {
    const tokens = await fetchTokens();
    const users = Object.keys(tokens);
    const user = await chooseUser(users);
    const client = new Client({
        url: `${location.origin.replace(/^http/, 'ws')}/ws`,
        token: async () => (await fetchTokens())[user],
    });

    $('user').textContent = user;
    $('curl').textContent = `curl --json '{"text":"hello"}' \\\n`
        + `  '${location.origin}/pub?channel=demo:lobby'`;

    for (const other of users.filter((name) => name !== user)) {
        const link = element('a', '', other);

        link.href = `?user=${encodeURIComponent(other)}`;
        link.target = '_blank';
        $('others').append(link, ' ');
    }

    $('clear').onclick = () => log.clear();
    $('copy').onclick = () => attempt(
        () => navigator.clipboard.writeText($('curl').textContent));

    listen(client, user);
    client.connect();
}

start().catch((error) => showProblem({ code: 'start',
                                       message: error.message }));
