// The one place that talks to the server.
import { contact } from './contact'

/** A problem at a place in a job's YAML. */
export interface Problem {
  line?: number
  column?: number
  path?: string
  message: string
}

/** What the server refused, and what to do next. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly next = '',
    readonly problems: Problem[] = [],
  ) {
    super(message)
  }
}

/** The server could not be reached, or is being replaced. Asking again is right. */
export class Unavailable extends Error {}

/** The task waits. Asking again is right, and nothing has failed. */
export class NotStarted extends Unavailable {}

const timeout = 30_000
const signedOutListeners = new Set<() => void>()

/** Calls back when the server says that the session has ended. */
export function onSignedOut(listener: () => void): () => void {
  signedOutListeners.add(listener)
  return () => signedOutListeners.delete(listener)
}

/** REST is where the paths of the REST server begin. */
export const REST = '/api/rest'

interface Options {
  method?: string
  body?: string
  type?: string
  signal?: AbortSignal | undefined
  /** A stream has no time limit. */
  stream?: boolean
}

/** Sends a request; the answer is a success. */
export async function request(path: string, o: Options = {}): Promise<Response> {
  const headers: Record<string, string> = {}
  if (o.method && o.method !== 'GET') headers['X-PAI-Request'] = '1'
  if (o.body !== undefined) headers['Content-Type'] = o.type ?? 'application/json'
  const signals = [o.signal, o.stream ? undefined : AbortSignal.timeout(timeout)].filter((s) => s !== undefined)
  let response: Response
  try {
    response = await fetch(path, {
      method: o.method ?? 'GET',
      headers,
      credentials: 'same-origin',
      signal: AbortSignal.any(signals),
      ...(o.body === undefined ? {} : { body: o.body }),
    })
  } catch (cause) {
    if (o.signal?.aborted) throw cause
    contact.failed()
    throw new Unavailable('unreachable', { cause })
  }
  if (response.headers.has('Pai-Not-Started')) {
    contact.succeeded()
    throw new NotStarted('not started')
  }
  if ([502, 503, 504].includes(response.status)) {
    contact.failed()
    throw new Unavailable(`status ${response.status}`)
  }
  // The portal answers for the session by itself: only an answer of the REST server counts.
  if (path.startsWith(REST)) contact.succeeded()
  if (response.ok) return response
  throw await refusal(response, path)
}

async function refusal(response: Response, path: string): Promise<Error> {
  let body: { code?: unknown; message?: unknown; next?: unknown; errors?: unknown } = {}
  try {
    body = (await response.json()) as typeof body
  } catch {
    // A proxy can answer with something else.
  }
  if (response.status === 401 && path !== '/api/session') for (const l of signedOutListeners) l()
  if (response.status === 429 && path !== '/api/session') return new Unavailable('busy')
  const text = (v: unknown) => (typeof v === 'string' ? v : '')
  return new ApiError(
    response.status,
    text(body.code),
    text(body.message) || `${response.status} ${response.statusText}`,
    text(body.next),
    Array.isArray(body.errors) ? (body.errors as Problem[]) : [],
  )
}

/** Reads JSON. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await request(path, { signal })).json()) as T
}

/** Sends JSON, and reads what the answer has. */
export async function send<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await request(path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const text = await response.text()
  return (text ? JSON.parse(text) : undefined) as T
}
