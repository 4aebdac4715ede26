import { expect, test } from 'vitest'
import { createContact } from '../api/contact'
import type { JobStatus, Preview, VirtualCluster } from '../api/types'
import { noFilters, readFilters, searchOf, writeFilters } from './filters'
import { fit } from './fit'
import { machines } from './machines'
import { duration, millis } from './time'
import { timeline } from './timeline'
import { readTokens } from './tokens'
import { why } from './why'
import { nextName, placeOf, rename } from './yaml'

test('filters survive the address', () => {
  const f = { ...noFilters, keyword: 'a&b=c', states: ['RUNNING', 'FAILED'] as const, user: 'ada', order: 'jobName,ASC', page: 2, archived: true }
  expect(readFilters(writeFilters({ ...f, states: [...f.states] }))).toEqual(f)
  expect(writeFilters(noFilters)).toBe('')
})

test('an address with nonsense filters nothing', () => {
  expect(readFilters('?state=EVIL,RUNNING&order=password,DESC&page=-3')).toEqual({ ...noFilters, states: ['RUNNING'] })
})

test('archived jobs are hidden unless they are asked for', () => {
  expect(searchOf(noFilters)).toContain('tagsNotContain=pai-archived')
  expect(searchOf({ ...noFilters, archived: true })).toContain('tagsContain=pai-archived')
})

test('durations have two units', () => {
  expect(duration(0)).toBe('0 s')
  expect(duration(61_000)).toBe('1 min 1 s')
  expect(duration(90_000_000)).toBe('1 d 1 h')
  expect(millis('')).toBeUndefined()
  expect(millis('0001-01-01T00:00:00Z')).toBeUndefined()
})

test('another name changes one line and keeps comments', () => {
  const yaml = '# name: no\nname: "train" # mine\ntaskRoles:\n  name: {}\n'
  expect(rename(yaml, 'train-2')).toBe('# name: no\nname: train-2 # mine\ntaskRoles:\n  name: {}\n')
  expect(rename('name: train\n', nextName('train-9'))).toBe('name: train-10\n')
})

test('a problem is marked at its word', () => {
  const text = 'a: 1\nbad: x\n'
  expect(placeOf(text, 2, 1)).toEqual({ from: 5, to: 8 })
  expect(placeOf(text, 2, 6)).toEqual({ from: 10, to: 11 })
  expect(placeOf(text, 99, 99)).toEqual({ from: text.length, to: text.length })
})

const vc = (gpu: number, used: number): VirtualCluster => {
  const amount = (gpu: number) => ({ cpu: 100, memory: 1000, gpu })
  return { capacity: 0, usedCapacity: 0, resourcesUsed: { ...amount(used), cpu: 0, memory: 0 }, resourcesTotal: amount(gpu), resourcesGuaranteed: amount(gpu) }
}
const preview = (gpu: number) => ({ total: { cpu: 1, memoryMB: 10, gpu } }) as Preview

test('a job fits, waits, or can never run', () => {
  expect(fit(preview(4), vc(8, 4))?.kind).toBe('fits')
  expect(fit(preview(5), vc(8, 4))).toMatchObject({ kind: 'waits', resource: 'gpu', free: 4 })
  expect(fit(preview(9), vc(8, 0))?.kind).toBe('never')
  expect(fit(preview(1), undefined)).toBeUndefined()
})

const job = (change: Partial<JobStatus>): JobStatus =>
  ({ user: 'ada', name: 'train', virtualCluster: 'default', state: 'RUNNING', created: '2026-01-01T00:00:00Z', retries: 0, taskRoles: [], ...change })

test('a sentence says why', () => {
  expect(why(job({ state: 'WAITING', message: 'needs 8 GPUs, 2 are free' }))).toBe('It waits: needs 8 GPUs, 2 are free.')
  const tasks = [
    { index: 0, state: 'FAILED' as const, exitCode: 3, retries: 0, ended: '2026-01-01T00:00:09Z' },
    { index: 1, state: 'FAILED' as const, exitCode: 7, retries: 0, ended: '2026-01-01T00:00:05Z' },
  ]
  expect(why(job({ state: 'FAILED', taskRoles: [{ name: 'worker', tasks }] }))).toBe('It failed: task worker 1 ended with exit code 7.')
  const running = [{ index: 0, state: 'RUNNING' as const, machine: 'gpu-1', retries: 0 }, { index: 1, state: 'WAITING' as const, retries: 0 }]
  expect(why(job({ taskRoles: [{ name: 'worker', tasks: running }] }))).toBe('It runs on gpu-1. 1 of 2 tasks run.')
})

test('moments are in order, and a time that is missing is no moment', () => {
  const events = [{ taskroleName: 'w', taskIndex: 0, taskName: '', type: 'Normal', reason: 'Pulled', message: '', firstTimestamp: '', lastTimestamp: '2026-01-01T00:00:02Z', count: 1, sourceComponent: '' }]
  const all = timeline(job({ started: '2026-01-01T00:00:03Z' }), events, [])
  expect(all.map((x) => x.kind)).toEqual(['submitted', 'event', 'started'])
})

test('machines show the jobs that the reader may see, and hide none that uses a GPU', () => {
  const use = { 'gpu-10': { gpuUsed: 3, gpuAvailable: 1, gpuTotal: 4 }, 'gpu-9': { gpuUsed: 0, gpuAvailable: 0, gpuTotal: 0 } }
  const own = [job({ taskRoles: [{ name: 'worker', tasks: [{ index: 0, state: 'RUNNING', machine: 'gpu-10', gpus: 2, retries: 0 }, { index: 1, state: 'RUNNING', machine: 'gpu-9', retries: 0 }] }] })]
  const [nine, ten] = machines(use, own)
  expect(ten?.slots.map((s) => s.use)).toEqual(['job', 'job', 'used', 'free'])
  expect(nine).toMatchObject({ name: 'gpu-9', slots: [], others: [{ user: 'ada', job: 'train', tasks: 1 }] })
})

test('pods that have ended hold no GPU', () => {
  const pod = (phase: string) => ({ metadata: { name: phase }, spec: { nodeName: 'one', containers: [{ resources: { limits: { 'nvidia.com/gpu': '1' } } }] }, status: { phase } })
  const nodes = [{ metadata: { name: 'one' }, status: { allocatable: { 'nvidia.com/gpu': '2' } } }]
  expect(machines({}, [], nodes, [pod('Running'), pod('Succeeded')])[0]?.slots.map((s) => s.use)).toEqual(['job', 'free'])
})

test('tokens are listed without what makes them valid, and of any form', () => {
  const payload = btoa(JSON.stringify({ application: true, iat: 100 })).replaceAll('=', '')
  expect(readTokens([`e30.${payload}.abc`, 'nonsense'])).toEqual([
    { listed: `e30.${payload}.abc`, id: 'abc', application: true, issued: 100_000 },
    { listed: 'nonsense', id: 'nonsense', application: false },
  ])
})

test('an outage lasts from the first failure to the next answer', () => {
  let now = 1000
  const c = createContact(() => now)
  c.succeeded()
  now = 2000
  c.failed()
  now = 3000
  c.failed()
  expect(c.get().failing).toBe(2000)
  now = 5000
  c.succeeded()
  expect(c.get().outages).toEqual([{ from: 2000, to: 5000 }])
  expect(c.get().failing).toBeUndefined()
})
