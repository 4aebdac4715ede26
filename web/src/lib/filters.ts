// The filters of the list of jobs, which its address has.
import type { State } from '../api/types'
import { states } from '../api/types'

export interface Filters {
  keyword: string
  states: State[]
  user: string
  virtualCluster: string
  priority: string
  tag: string
  archived: boolean
  order: string
  page: number
}

export const pageSize = 50
export const noFilters: Filters = {
  keyword: '', states: [], user: '', virtualCluster: '', priority: '', tag: '', archived: false, order: '', page: 0,
}

/** The orders that the server knows. */
export const orders = ['jobName', 'username', 'vc', 'state', 'totalTaskNumber', 'totalGpuNumber', 'submissionTime', 'completionTime'] as const

/** Reads the filters of an address; what is not valid is ignored. */
export function readFilters(search: string): Filters {
  const q = new URLSearchParams(search)
  const [field = '', direction] = (q.get('order') ?? '').split(',')
  const page = Number(q.get('page') ?? 0)
  return {
    keyword: q.get('keyword') ?? '',
    states: (q.get('state') ?? '').split(',').filter((s): s is State => (states as readonly string[]).includes(s)),
    user: q.get('user') ?? '',
    virtualCluster: q.get('vc') ?? '',
    priority: q.get('priority') ?? '',
    tag: q.get('tag') ?? '',
    archived: q.get('archived') === '1',
    order: (orders as readonly string[]).includes(field) ? `${field},${direction === 'ASC' ? 'ASC' : 'DESC'}` : '',
    page: Number.isInteger(page) && page > 0 && page < 100_000 ? page : 0,
  }
}

/** The address of filters; empty if all are as they begin. */
export function writeFilters(f: Filters): string {
  const q = new URLSearchParams()
  const set = (name: string, value: string) => value && q.set(name, value)
  set('keyword', f.keyword)
  set('state', f.states.join(','))
  set('user', f.user)
  set('vc', f.virtualCluster)
  set('priority', f.priority)
  set('tag', f.tag)
  set('archived', f.archived ? '1' : '')
  set('order', f.order)
  set('page', f.page ? String(f.page) : '')
  const text = q.toString().replaceAll('%2C', ',')
  return text ? `?${text}` : ''
}

/** The parameters of the server for filters. */
export function searchOf(f: Filters, limit = pageSize): string {
  const q = new URLSearchParams()
  if (f.keyword) q.set('keyword', f.keyword)
  if (f.states.length) q.set('state', f.states.join(','))
  if (f.user) q.set('username', f.user)
  if (f.virtualCluster) q.set('vc', f.virtualCluster)
  if (f.priority) q.set('jobPriority', f.priority)
  const tags = [...(f.tag ? [f.tag] : []), ...(f.archived && !f.tag ? ['pai-archived'] : [])]
  if (tags.length) q.set('tagsContain', tags.join(','))
  if (!f.archived) q.set('tagsNotContain', 'pai-archived')
  if (f.order) q.set('order', f.order)
  q.set('offset', String(f.page * pageSize))
  q.set('limit', String(limit))
  q.set('withTotalCount', 'true')
  return q.toString()
}
