// Whether a job can start now, from what its virtual cluster has and uses.
import type { Preview, VirtualCluster } from '../api/types'

export type Fit = { kind: 'fits' | 'waits' | 'never'; resource?: 'gpu' | 'cpu' | 'memory'; wanted: number; free: number; total: number }

/** Compares the sum of all tasks with the quota; undefined if the virtual cluster is unknown. */
export function fit(p: Preview, vc: VirtualCluster | undefined): Fit | undefined {
  if (!vc) return undefined
  const rows = (['gpu', 'cpu', 'memory'] as const).map((resource) => {
    const wanted = resource === 'memory' ? p.total.memoryMB : p.total[resource]
    const total = vc.resourcesTotal[resource]
    return { resource, wanted, total, free: Math.max(0, total - vc.resourcesUsed[resource]) }
  })
  const never = rows.find((r) => r.wanted > r.total)
  if (never) return { kind: 'never', ...never }
  const waits = rows.find((r) => r.wanted > r.free)
  if (waits) return { kind: 'waits', ...waits }
  return { kind: 'fits', wanted: 0, free: 0, total: 0 }
}
