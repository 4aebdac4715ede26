// Why a job is in its state, in one sentence.
import type { JobStatus, Task } from '../api/types'
import { m } from '../messages'

export function allTasks(job: JobStatus): { role: string; task: Task }[] {
  return job.taskRoles.flatMap((r) => r.tasks.map((task) => ({ role: r.name, task })))
}

const sentence = (text: string) => (/[.!?…]$/.test(text) ? text : `${text}.`)

/** The task that failed first. */
export function firstFailure(job: JobStatus): { role: string; task: Task } | undefined {
  return allTasks(job)
    .filter(({ task }) => task.state === 'FAILED')
    .sort((a, b) => Date.parse(a.task.ended ?? '') - Date.parse(b.task.ended ?? '') || 0)[0]
}

export function why(job: JobStatus): string {
  const w = m.job.why
  switch (job.state) {
    case 'WAITING':
      return sentence(job.message ? w.waitingFor(job.message) : w.waiting)
    case 'RUNNING': {
      const tasks = allTasks(job)
      const running = tasks.filter(({ task }) => task.state === 'RUNNING')
      const names = [...new Set(running.flatMap(({ task }) => (task.machine ? [task.machine] : [])))].sort()
      const shown = names.length > 5 ? `${names.slice(0, 5).join(', ')}, …` : names.join(', ')
      const where = shown ? w.running(shown) : w.runningNowhere
      const waiting = tasks.find(({ task }) => task.state === 'WAITING' && task.message)?.task.message ?? ''
      return [where, running.length < tasks.length ? w.partly(running.length, tasks.length) : '', job.message || waiting ? sentence(job.message || waiting) : '']
        .filter(Boolean).join(' ')
    }
    case 'STOPPING':
      return w.stopping
    case 'STOPPED':
      return w.stopped
    case 'SUCCEEDED':
      return w.succeeded
    case 'FAILED': {
      const first = firstFailure(job)
      const task = first && w.failedTask(first.role, first.task.index, first.task.exitCode)
      const message = job.message || first?.task.message
      if (!task && !message) return w.failedUnknown
      return sentence(w.failed([task, message].filter(Boolean).join(': ')))
    }
    default:
      return job.message ? sentence(job.message) : w.unknown
  }
}
