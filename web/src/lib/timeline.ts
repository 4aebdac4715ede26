// What happened to a job, in order.
import type { JobEvent, JobOperation, JobStatus } from '../api/types'
import { millis } from './time'

export type Moment =
  | { at: number; kind: 'submitted' | 'started' | 'ended' }
  | { at: number; kind: 'task'; what: 'started' | 'ended'; role: string; index: number; machine?: string; exitCode?: number; retries: number }
  | { at: number; kind: 'event'; event: JobEvent }
  | { at: number; kind: 'operation'; edge: 'started' | 'ended'; operation: JobOperation }

/** How many tasks have separate moments: more would hide the rest. */
const maxTasks = 20

/** The moments of a job, the oldest first. */
export function timeline(job: JobStatus, events: JobEvent[], operations: JobOperation[]): Moment[] {
  const moments: Moment[] = []
  const add = (time: string | undefined, make: (at: number) => Moment) => {
    const at = millis(time)
    if (at !== undefined) moments.push(make(at))
  }
  add(job.created, (at) => ({ at, kind: 'submitted' }))
  add(job.started, (at) => ({ at, kind: 'started' }))
  add(job.ended, (at) => ({ at, kind: 'ended' }))
  for (const [role, t] of job.taskRoles.flatMap((r) => r.tasks.map((t) => [r.name, t] as const)).slice(0, maxTasks)) {
    const base = { kind: 'task', role, index: t.index, retries: t.retries } as const
    add(t.started, (at) => ({ at, ...base, what: 'started', ...(t.machine ? { machine: t.machine } : {}) }))
    add(t.ended, (at) => ({ at, ...base, what: 'ended', ...(t.exitCode === undefined ? {} : { exitCode: t.exitCode }) }))
  }
  for (const event of events) add(event.lastTimestamp, (at) => ({ at, kind: 'event', event }))
  for (const operation of operations) {
    add(operation.started, (at) => ({ at, kind: 'operation', edge: 'started', operation }))
    add(operation.ended, (at) => ({ at, kind: 'operation', edge: 'ended', operation }))
  }
  return moments.sort((a, b) => a.at - b.at)
}
