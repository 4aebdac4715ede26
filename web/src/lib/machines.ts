// Machines with the jobs on them, from what the caller may see.
import type { GPUUse } from '../api/cluster'
import type { JobStatus, KubeNode, KubePod } from '../api/types'

export interface Slot {
  /** used: by whose job is not known to the reader. */
  use: 'free' | 'used' | 'job'
  user?: string
  job?: string
}

export interface Machine {
  name: string
  slots: Slot[]
  /** Tasks without a GPU. */
  others: { user: string; job: string; tasks: number }[]
  details?: {
    ready: boolean
    cordoned: boolean
    kind: string
    version: string
    system: string
    cpu: string
    memory: string
    problems: { type: string; message: string }[]
  }
}

const gpuResource = 'nvidia.com/gpu'
interface Placed {
  machine: string
  user: string
  job: string
  gpus: number
}

const finished = new Set(['Succeeded', 'Failed'])

function placedPods(pods: KubePod[]): Placed[] {
  return pods
    .filter((p) => p.spec?.nodeName && !finished.has(p.status?.phase ?? ''))
    .map((p) => ({
      machine: p.spec!.nodeName!,
      user: p.metadata.labels?.['pai.dev/user'] ?? '',
      job: p.metadata.annotations?.['pai.dev/job-name'] ?? p.metadata.labels?.['pai.dev/job'] ?? p.metadata.name,
      gpus: (p.spec?.containers ?? []).reduce((n, c) => n + Number(c.resources?.limits?.[gpuResource] ?? 0), 0),
    }))
}

function placedTasks(jobs: JobStatus[]): Placed[] {
  return jobs.flatMap((j) =>
    j.taskRoles.flatMap((r) =>
      r.tasks
        .filter((t) => t.machine && t.state === 'RUNNING')
        .map((t) => ({ machine: t.machine!, user: j.user, job: j.name, gpus: t.gpus ?? 0 })),
    ),
  )
}

function gibibytes(quantity: string | undefined): string {
  const m = /^(\d+)(Ki|Mi|Gi|)$/.exec(quantity ?? '')
  if (!m) return quantity ?? ''
  const bytes = Number(m[1]) * { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }[m[2] as '' | 'Ki' | 'Mi' | 'Gi']
  return `${Math.round((bytes / 2 ** 30) * 10) / 10} GiB`
}

function detailsOf(n: KubeNode): NonNullable<Machine['details']> {
  const conditions = n.status?.conditions ?? []
  const ready = conditions.find((c) => c.type === 'Ready')
  return {
    ready: ready?.status === 'True',
    cordoned: n.spec?.unschedulable === true,
    kind: n.metadata.labels?.['nvidia.com/gpu.product'] ?? '',
    version: n.status?.nodeInfo?.kubeletVersion ?? '',
    system: [n.status?.nodeInfo?.osImage, n.status?.nodeInfo?.kernelVersion].filter(Boolean).join(' · '),
    cpu: n.status?.allocatable?.cpu ?? '',
    memory: gibibytes(n.status?.allocatable?.memory),
    problems: conditions
      .filter((c) => (c.type === 'Ready' ? c.status !== 'True' : c.status === 'True'))
      .map((c) => ({ type: c.type, message: c.message ?? '' })),
  }
}

/** The machines by name. Nodes and pods are there for administrators only. */
export function machines(use: Record<string, GPUUse>, own: JobStatus[], nodes?: KubeNode[], pods?: KubePod[]): Machine[] {
  const placed = pods ? placedPods(pods) : placedTasks(own)
  const names = nodes ? nodes.map((n) => n.metadata.name) : Object.keys(use)
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => {
    const node = nodes?.find((n) => n.metadata.name === name)
    const total = node ? Number(node.status?.allocatable?.[gpuResource] ?? 0) : (use[name]?.gpuTotal ?? 0)
    const here = placed.filter((p) => p.machine === name)
    const slots: Slot[] = here.flatMap((p) => Array<Slot>(p.gpus).fill({ use: 'job', user: p.user, job: p.job }))
    const unknown = pods ? 0 : Math.max(0, (use[name]?.gpuUsed ?? 0) - slots.length)
    for (let i = 0; i < unknown; i++) slots.push({ use: 'used' })
    while (slots.length < total) slots.push({ use: 'free' })
    const others = new Map<string, Machine['others'][number]>()
    for (const p of here.filter((p) => p.gpus === 0)) {
      const key = `${p.user}~${p.job}`
      const o = others.get(key) ?? { user: p.user, job: p.job, tasks: 0 }
      others.set(key, { ...o, tasks: o.tasks + 1 })
    }
    return { name, slots, others: [...others.values()], ...(node ? { details: detailsOf(node) } : {}) }
  })
}
