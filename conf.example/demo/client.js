/*
 * A client of the v1 protocol (docs/protocol.md), without a page.
 *
 * It connects, keeps connected with backoff, and after each reconnection asks
 * for what it missed. Every message of a channel is reported once.
 *
 *   const client = new Client({ url, token: async () => '...' });
 *   client.addEventListener('message', (e) => console.log(e.detail));
 *   client.connect();
 *
 * Events, with their data in `detail`:
 *   state        {state: 'offline'|'connecting'|'open'|'waiting', delay?, code?,
 *                reason?}; delay in ms, until the next attempt
 *   established  the payload of connection:established
 *   channel      {resource, subscribed, recovered?}: a channel joined or left,
 *                or, with `recovered`, whether what was missed could be had
 *   message      {resource, type, payload, timestamp, sequenceNumber, epoch,
 *                recovered}
 *   latency      {milliseconds}: of a ping
 *   problem      {code, message, details}: the server refused something
 */

const FIRST_DELAY = 500;         /* ms; doubled with each failure */
const MAX_DELAY = 30_000;
const PING_EVERY = 15_000;
const ANSWER_WITHIN = 10_000;
const REMEMBERED = 1_000;        /* numbers per channel, to know doubles */


export class RequestError extends Error {
    constructor({ code, message, details }) {
        super(message);
        this.code = code;
        this.details = details;
    }
}


/* What is known of one channel. */

class Channel {
    epoch = null;
    last = 0;                    /* the highest number seen or known */
    wanted = false;              /* to be joined again after a reconnection */
    joined = false;
    recoverable = 0;             /* up to here, it is recovered, not live */
    #seen = new Set();

    /* Starts an epoch: numbers begin anew, nothing is known. */

    begin(epoch, last) {
        this.epoch = epoch;
        this.last = last;
        this.#seen.clear();
    }

    /* Whether the message is new. */

    take(epoch, number) {
        if (epoch !== this.epoch) {
            this.begin(epoch, 0);
        }

        if (this.#seen.has(number)) {
            return false;
        }

        this.#seen.add(number);
        this.last = Math.max(this.last, number);

        if (this.#seen.size > REMEMBERED) {
            this.#seen.delete(this.#seen.values().next().value);
        }

        return true;
    }
}


export class Client extends EventTarget {
    #url;
    #token;
    #socket = null;
    #state = 'offline';
    #attempts = 0;
    #timer = null;               /* the next attempt */
    #pinger = null;
    #pings = 0;
    #nextDelay = null;           /* what the server asked for */
    #requests = new Map();       /* requestId: {resolve, reject, timer} */
    #lastRequest = 0;
    #channels = new Map();

    constructor({ url, token }) {
        super();
        this.#url = url;
        this.#token = token;
    }

    get state() {
        return this.#state;
    }

    get channels() {
        return [...this.#channels].filter(([, channel]) => channel.joined)
            .map(([name]) => name);
    }

    async connect() {
        if (this.#state === 'connecting' || this.#state === 'open') {
            return;
        }

        clearTimeout(this.#timer);
        this.#setState({ state: 'connecting' });

        let token;

        try {
            token = await this.#token();
        } catch (error) {
            this.#retry({ reason: error.message });
            return;
        }

        if (this.#state !== 'connecting') {
            return;              /* close() came in between */
        }

        /* Browsers cannot set headers here: the token is a subprotocol. */

        const socket = new WebSocket(this.#url, ['v1', 'jwt', token]);

        this.#socket = socket;

        socket.onmessage = (event) => {
            if (socket === this.#socket) {
                this.#receive(JSON.parse(event.data));
            }
        };

        socket.onclose = (event) => {
            if (socket === this.#socket) {
                this.#lost();
                this.#retry({ code: event.code, reason: event.reason });
            }
        };
    }

    /* Closes, and stays closed until connect(). Channels are remembered. */

    close() {
        const socket = this.#socket;

        clearTimeout(this.#timer);
        this.#lost();
        socket?.close(1000);
        this.#setState({ state: 'offline' });
    }

    subscribe(resource) {
        return this.#subscribe([resource]);
    }

    async unsubscribe(resource) {
        await this.#request('unsubscribe', { resources: [resource] });
        this.#left(resource);
    }

    /* Resolves to {resource, sequenceNumber, epoch}. */

    publish(resource, data) {
        return this.#request('publish', { resource, data });
    }

    /* Asks for what the server still has of a joined channel. */

    earlier(resource) {
        const { epoch } = this.#channel(resource);

        return this.#request('recovery:request',
                             { resource, epoch, lastSequenceNumber: 0 });
    }

    #emit(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    #setState(detail) {
        this.#state = detail.state;
        this.#emit('state', detail);
    }

    #channel(name) {
        let channel = this.#channels.get(name);

        if (channel === undefined) {
            channel = new Channel();
            this.#channels.set(name, channel);
        }

        return channel;
    }

    /* The connection is gone: nothing will be answered any more. */

    #lost() {
        this.#socket = null;
        clearInterval(this.#pinger);

        for (const { reject, timer } of this.#requests.values()) {
            clearTimeout(timer);
            reject(new RequestError({ code: 'unavailable',
                                      message: 'the connection was lost' }));
        }

        this.#requests.clear();

        for (const channel of this.#channels.values()) {
            channel.joined = false;
        }
    }

    /* The random half keeps a crowd from coming back at one moment. */

    #retry(why) {
        const limit = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.#attempts);
        const delay = Math.round(this.#nextDelay
                                 ?? limit * (1 + Math.random()) / 2);

        this.#attempts++;
        this.#nextDelay = null;
        this.#timer = setTimeout(() => this.connect(), delay);
        this.#setState({ state: 'waiting', delay, ...why });
    }

    #send(type, payload, requestId) {
        this.#socket.send(JSON.stringify({
            type, payload, timestamp: new Date().toISOString(), requestId,
        }));
    }

    /* Resolves to the payload of the answer. */

    #request(type, payload) {
        return new Promise((resolve, reject) => {
            if (this.#state !== 'open') {
                throw new RequestError({ code: 'unavailable',
                                         message: 'not connected' });
            }

            const id = `r${++this.#lastRequest}`;
            const timer = setTimeout(() => {
                this.#requests.delete(id);
                reject(new RequestError({ code: 'unavailable',
                                          message: `no answer to ${type}` }));
            }, ANSWER_WITHIN);

            this.#requests.set(id, { resolve, reject, timer });
            this.#send(type, payload, id);
        });
    }

    #receive(message) {
        const { type, payload, correlationId } = message;
        const request = this.#requests.get(correlationId);

        if (message.resource !== undefined) {
            this.#deliver(message, false);
            return;
        }

        switch (type) {

        case 'connection:established':
            this.#established(payload);
            break;

        case 'subscribed':
            this.#subscribed(payload.resources);
            break;

        case 'recovery:response':
            if (payload.data !== null) {
                this.#deliver(payload.data, true);
            }
            break;

        case 'connection:status':
            this.#nextDelay = payload.nextReconnectIn;
            break;

        case 'error':
            if (request === undefined) {
                this.#emit('problem', payload);
            }
            break;
        }

        if (request !== undefined) {
            this.#requests.delete(correlationId);
            clearTimeout(request.timer);

            if (type === 'error') {
                request.reject(new RequestError(payload));
            } else {
                request.resolve(payload);
            }
        }
    }

    #established(payload) {
        this.#attempts = 0;
        this.#setState({ state: 'open' });
        this.#emit('established', payload);
        this.#ping();
        this.#pinger = setInterval(() => this.#ping(), PING_EVERY);

        const again = [...this.#channels.keys()]
            .filter((name) => this.#channels.get(name).wanted);

        if (again.length !== 0) {
            this.#rejoin(again);
        }
    }

    async #rejoin(resources) {
        const socket = this.#socket;

        try {
            await this.#subscribe(resources);

        } catch (error) {
            this.#emit('problem', error);
        }

        if (socket !== this.#socket) {
            return;              /* lost again: the next one will do it */
        }

        for (const resource of resources) {
            if (!this.#channels.get(resource)?.joined) {
                this.#left(resource);
            }
        }
    }

    /* Joins, and where messages were seen before asks for those since. */

    async #subscribe(resources) {
        const since = {};

        for (const name of resources) {
            const { epoch, last } = this.#channel(name);

            if (epoch !== null) {
                since[name] = { sequenceNumber: last, epoch };
            }
        }

        const payload = await this.#request('subscribe', { resources, since });

        for (const { resource, recovered } of payload.resources) {
            if (since[resource] !== undefined) {
                this.#emit('channel', { resource, subscribed: true,
                                        recovered });
            }
        }
    }

    /* An answer, or unasked for a channel that the server joined. The number
     * is the channel's last one: what comes with a lower one is recovered. */

    #subscribed(resources) {
        for (const { resource, sequenceNumber, epoch } of resources) {
            const channel = this.#channel(resource);

            if (epoch !== channel.epoch) {
                channel.begin(epoch, sequenceNumber);
            }

            channel.recoverable = sequenceNumber;
            channel.wanted = true;

            if (!channel.joined) {
                channel.joined = true;
                this.#emit('channel', { resource, subscribed: true });
            }
        }
    }

    #left(resource) {
        this.#channels.delete(resource);
        this.#emit('channel', { resource, subscribed: false });
    }

    #deliver(message, recovered) {
        const { resource, sequenceNumber, epoch } = message;
        const channel = this.#channels.get(resource);

        if (channel === undefined || !channel.take(epoch, sequenceNumber)) {
            return;
        }

        this.#emit('message', {
            ...message,
            recovered: recovered || sequenceNumber <= channel.recoverable,
        });
    }

    /* Browsers show no pings of the WebSocket protocol: this finds out both
     * how far the server is, and that it is not there any more. */

    async #ping() {
        const socket = this.#socket;
        const sent = performance.now();

        try {
            await this.#request('ping', { timestamp: new Date().toISOString(),
                                          sequenceNumber: ++this.#pings });
            this.#emit('latency', { milliseconds: performance.now() - sent });

        } catch {
            if (socket === this.#socket && this.#state === 'open') {
                this.#lost();
                socket.close();
                this.#retry({ reason: 'no answer to a ping' });
            }
        }
    }
}
