import { expect, test } from 'vitest'
import type { ContainerEnd, JobLine } from '../api/types'
import { verdict } from './verdict'

const line: JobLine = { job: 'ada~train', containersBefore: 2, containersAfter: 2, unobservedSeconds: 0 }
const end: ContainerEnd = { job: 'ada~train', pod: 'p', container: 'c', machine: 'm', time: '' }

test.each([
  ['all containers, watched all the time', {}, 'proven'],
  ['a gap in what was watched', { unobservedSeconds: 0.1 }, 'unobserved'],
  ['nothing ran', { containersBefore: 0, containersAfter: 0 }, 'unobserved'],
  ['a container ended without an error', { containersAfter: 1 }, 'ended'],
  ['a container failed by itself', { containersAfter: 1, failed: [end] }, 'failed'],
  ['a container was interrupted', { containersAfter: 1, interrupted: [end] }, 'interrupted'],
  ['it is unknown why a container ended', { containersAfter: 1, unknown: [end] }, 'interrupted'],
  ['an interruption outweighs a failure', { failed: [end], interrupted: [end] }, 'interrupted'],
  ['lists of the server can be null', { failed: null, interrupted: null, unknown: null }, 'proven'],
] as const)('%s', (_, change, want) => {
  expect(verdict({ ...line, ...change } as JobLine)).toBe(want)
})
