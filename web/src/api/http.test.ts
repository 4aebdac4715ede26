import { afterEach, expect, test, vi } from 'vitest'
import { contact } from './contact'
import { ApiError, NotStarted, onSignedOut, request, Unavailable } from './http'

const answers = (status: number, body: unknown = {}) =>
  vi.stubGlobal('fetch', vi.fn(async () => new Response(JSON.stringify(body), { status })))
afterEach(() => vi.unstubAllGlobals())

test.each([502, 503, 504, 429])('status %d means: ask again', async (status) => {
  answers(status)
  await expect(request('/api/rest/x')).rejects.toBeInstanceOf(Unavailable)
})

test('a task that waits is no outage', async () => {
  vi.stubGlobal('fetch', vi.fn(async () => new Response('{}', { status: 503, headers: { 'Pai-Not-Started': 'true' } })))
  await expect(request('/api/rest/x')).rejects.toBeInstanceOf(NotStarted)
  expect(contact.get().failing).toBeUndefined()
})

test('a refusal keeps what to do next, and the places', async () => {
  answers(400, { code: 'invalid', message: 'no', next: 'fix it', errors: [{ line: 3, message: 'there' }] })
  const error = await request('/api/rest/x').catch((e: unknown) => e)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ status: 400, next: 'fix it', problems: [{ line: 3, message: 'there' }] })
})

test('an answer that is no JSON is a refusal, too', async () => {
  vi.stubGlobal('fetch', vi.fn(async () => new Response('<html>', { status: 413, statusText: 'Too Large' })))
  await expect(request('/api/rest/x')).rejects.toMatchObject({ status: 413, message: '413 Too Large' })
})

test('401 signs out, except while signing in', async () => {
  answers(401)
  const listener = vi.fn()
  const stop = onSignedOut(listener)
  await request('/api/session', { method: 'POST' }).catch(() => {})
  expect(listener).not.toHaveBeenCalled()
  await request('/api/rest/x').catch(() => {})
  expect(listener).toHaveBeenCalledOnce()
  stop()
})

test('only requests that change something have the header of the page', async () => {
  answers(200)
  await request('/api/rest/x')
  await request('/api/rest/x', { method: 'DELETE' })
  const headers = vi.mocked(fetch).mock.calls.map(([, init]) => (init!.headers as Record<string, string>)['X-PAI-Request'])
  expect(headers).toEqual([undefined, '1'])
})
