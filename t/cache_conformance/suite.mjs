// Starts the suite's origin server and nginx, runs the tests, and compares.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

// At least so many have to pass, whatever `expected` says. Of 157 required
// tests 4 cannot pass, and 8 want what RFC 9111 has since decided otherwise.
const REQUIRED = 145
const OPTIMAL = 80

const [folder, only] = process.argv.slice(2)
const home = path.join(folder, 'node_modules/http-cache-tests')
const here = path.dirname(new URL(import.meta.url).pathname)
const prefix = fs.mkdtempSync(path.join(os.tmpdir(), 'gateway-cache-'))
const children = []

function freePort () {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.listen(0, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

function start (command, args, options) {
  const child = spawn(command, args, { stdio: 'ignore', ...options })
  child.on('exit', (code) => { child.code = code ?? -1 })
  children.push(child)
  return child
}

async function listens (port, child) {
  for (let i = 0; i < 500 && child.code === undefined; i++) {
    const up = await new Promise((resolve) => {
      const socket = net.connect(port, 'localhost')
      socket.on('connect', () => { socket.destroy(); resolve(true) })
      socket.on('error', () => resolve(false))
    })
    if (up) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const log = path.join(prefix, 'error.log')
  throw new Error('nothing listens: '
    + (fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : ''))
}

function configuration (port, origin) {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `    ${name}_temp_path temp_${name};`).join('\n')

  return `load_module ${process.env.TEST_NGINX_LOAD_MODULES};
worker_processes 2;
pid nginx.pid;
error_log error.log info;
events {}
http {
    access_log off;
${temp}
    gateway_cache_zone cache:16m;
    server {
        listen 127.0.0.1:${port};
        listen [::1]:${port};
        location / {
            gateway_cache cache;
            gateway_cache_store 1;
            gateway_cache_stale error timeout http_5xx;
            proxy_pass http://localhost:${origin};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
        }
    }
}
`
}

// kind -> ids, of those that are no browser's business
function kinds (tests) {
  const all = new Map()
  for (const suite of tests) {
    for (const test of suite.tests) {
      if (!test.browser_only) all.set(test.id, test.kind ?? 'required')
    }
  }
  return all
}

// Lines "id  reason" of tests that are known to fail.
function expected () {
  const list = new Map()
  const text = fs.readFileSync(path.join(here, 'expected'), 'utf8')
  for (const line of text.split('\n')) {
    const match = /^([\w=-]+)\s+(\S.*)$/.exec(line)
    if (match) list.set(match[1], match[2])
  }
  return list
}

let number = 0
let failed = false

function report (ok, name, details) {
  console.log(`${ok ? 'ok' : 'not ok'} ${++number} - ${name}`)
  if (!ok) {
    failed = true
    if (details) console.log(`# ${details}`)
  }
}

function judge (all, results) {
  const known = expected()
  const passed = { required: 0, optimal: 0, check: 0 }
  const total = { required: 0, optimal: 0, check: 0 }

  for (const [id, kind] of all) {
    const ok = results[id] === true
    total[kind]++
    if (ok) passed[kind]++
    if (kind === 'check') continue

    const why = Array.isArray(results[id]) ? results[id].join(': ') : ''
    if (ok) {
      report(!known.has(id), id, 'passes, take it off the list')
    } else if (known.has(id)) {
      console.log(`not ok ${++number} - ${id} # TODO ${known.get(id)}`)
    } else {
      report(false, `${id} (${kind})`, why)
    }
  }

  for (const kind of ['required', 'optimal', 'check']) {
    console.log(`# ${kind}: ${passed[kind]} of ${total[kind]}`)
  }

  report(passed.required >= REQUIRED, `${REQUIRED} required pass`)
  report(passed.optimal >= OPTIMAL, `${OPTIMAL} optimal pass`)
}

async function main () {
  const port = await freePort()
  const origin = await freePort()

  fs.writeFileSync(path.join(prefix, 'nginx.conf'),
    configuration(port, origin))

  const server = start('node', ['server/server.mjs'], {
    cwd: home,
    env: {
      ...process.env,
      npm_config_protocol: 'http',
      npm_config_port: String(origin),
      npm_config_pidfile: path.join(prefix, 'server.pid')
    }
  })
  const nginx = start(process.env.TEST_NGINX_BINARY ?? 'nginx',
    ['-p', prefix + '/', '-e', 'error.log', '-c', 'nginx.conf', '-g',
      'daemon off;'])

  await listens(origin, server)
  await listens(port, nginx)

  const { default: tests } = await import(path.join(home, 'tests/index.mjs'))
  const { runTests, getResults } =
    await import(path.join(home, 'client/runner.mjs'))
  const fetch = createRequire(path.join(home, 'cli.mjs'))('node-fetch')

  let run = tests
  if (only) {
    run = tests.map((suite) => ({
      ...suite, tests: suite.tests.filter((test) => test.id === only)
    }))
    run.forEach((suite) => suite.tests.forEach((test) => {
      test.dump = true
    }))
  }

  const log = console.log
  if (!only) console.log = () => {}
  await runTests(run, fetch, false, `http://localhost:${port}`)
  console.log = log

  const results = getResults()

  if (only) {
    console.log(JSON.stringify(results, null, 2))
  } else {
    judge(kinds(tests), results)
  }

  const bad = fs.readFileSync(path.join(prefix, 'error.log'), 'utf8')
    .split('\n').filter((line) => / \[(alert|crit|emerg)\] /.test(line))
  report(bad.length === 0, 'nginx complains of nothing', bad.join('\n# '))
  console.log(`1..${number}`)
}

async function stop () {
  for (const child of children) {
    if (child.code === undefined) child.kill('SIGTERM')
  }
  for (const child of children) {
    for (let i = 0; i < 250 && child.code === undefined; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  fs.rmSync(prefix, { recursive: true, force: true })
}

try {
  await main()
} catch (error) {
  console.log(`Bail out! ${error.stack}`)
  failed = true
}

await stop()
process.exit(failed ? 1 : 0)
