import { keepPreviousData, useQueries, useQuery, useQueryClient } from '@tanstack/react-query'
import { searchOf, type Filters } from '../lib/filters'
import { get, request, REST, send } from './http'
import type { JobEvent, JobOperation, JobPage, JobStatus, Preview, State } from './types'
import { ended } from './types'

const OPENPAI = `${REST}/rest-server/api/v2`
const PAI = `${REST}/api/v2`
const segment = (user: string, name: string) => `${encodeURIComponent(user)}~${encodeURIComponent(name)}`

/** The tag that hides a job from the list. */
export const archived = 'pai-archived'

export function useJobs(filters: Filters) {
  const search = searchOf(filters)
  return useQuery({
    queryKey: ['jobs', search],
    queryFn: ({ signal }) => get<JobPage>(`${OPENPAI}/jobs?${search}`, signal),
    placeholderData: keepPreviousData,
    refetchInterval: 5000,
  })
}

/** How many jobs of the filter are in each state. */
export function useCounts(filters: Filters, of: readonly State[]) {
  return useQueries({
    queries: of.map((state) => {
      const search = searchOf({ ...filters, states: [state], page: 0 }, 0)
      return {
        queryKey: ['jobs', 'count', search],
        queryFn: async ({ signal }: { signal: AbortSignal }) => (await get<JobPage>(`${OPENPAI}/jobs?${search}`, signal)).totalCount,
        placeholderData: keepPreviousData,
        refetchInterval: 20_000,
      }
    }),
    combine: (results) => new Map(of.map((state, i) => [state, results[i]?.data])),
  })
}

export function useJob(user: string, name: string) {
  return useQuery({
    queryKey: ['job', user, name],
    queryFn: ({ signal }) => get<JobStatus>(`${PAI}/jobs/${segment(user, name)}`, signal),
    refetchInterval: ({ state: { data } }) => {
      if (data && ended(data.state)) return 30_000
      const tasks = data?.taskRoles.reduce((n, r) => n + r.tasks.length, 0) ?? 0
      return tasks > 1000 ? 15_000 : 4000
    },
  })
}

/** The running jobs of a user with their tasks: where they run. */
export function useRunningJobs(user: string) {
  const list = useQuery({
    queryKey: ['jobs', 'running', user],
    queryFn: ({ signal }) =>
      get<JobPage>(`${OPENPAI}/jobs?username=${encodeURIComponent(user)}&state=RUNNING,WAITING,STOPPING&limit=20&withTotalCount=true`, signal),
    refetchInterval: 10_000,
    enabled: user !== '',
  })
  return useQueries({
    queries: (list.data?.data ?? []).map((j) => ({
      queryKey: ['job', j.username, j.name],
      queryFn: ({ signal }: { signal: AbortSignal }) => get<JobStatus>(`${PAI}/jobs/${segment(j.username, j.name)}`, signal),
      refetchInterval: 10_000,
    })),
    combine: (results) => ({
      known: list.data !== undefined,
      jobs: results.flatMap((r) => (r.data ? [r.data] : [])),
      total: list.data?.totalCount ?? 0,
    }),
  })
}

export function useEvents(user: string, name: string) {
  return useQuery({
    queryKey: ['events', user, name],
    queryFn: async ({ signal }) => (await get<{ data: JobEvent[] }>(`${OPENPAI}/jobs/${segment(user, name)}/events`, signal)).data,
    refetchInterval: 15_000,
  })
}

export function useJobOperations(user: string, name: string) {
  return useQuery({
    queryKey: ['operations', user, name],
    queryFn: ({ signal }) => get<JobOperation[]>(`${PAI}/jobs/${segment(user, name)}/operations`, signal),
    refetchInterval: 30_000,
  })
}

export const configPath = (user: string, name: string) => `${PAI}/jobs/${segment(user, name)}/config`

/** The YAML of a job as it was submitted. */
export async function fetchConfig(user: string, name: string, signal?: AbortSignal): Promise<string> {
  return (await request(configPath(user, name), { signal })).text()
}

export function useConfig(user: string, name: string, enabled = true) {
  return useQuery({
    queryKey: ['config', user, name],
    queryFn: ({ signal }) => fetchConfig(user, name, signal),
    staleTime: Infinity,
    enabled,
  })
}

export function outputPath(user: string, name: string, role: string, index: number, more: Record<string, string> = {}): string {
  return `${PAI}/jobs/${segment(user, name)}/logs?${new URLSearchParams({ taskRole: role, index: String(index), ...more })}`
}

async function sendYAML<T>(path: string, yaml: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { method: 'POST', body: yaml, type: 'text/yaml', signal })).json() as Promise<T>
}

export const dryRun = (yaml: string, signal?: AbortSignal) => sendYAML<Preview>(`${PAI}/jobs/dry-run`, yaml, signal)
export const submit = (yaml: string) => sendYAML<{ user: string; name: string }>(`${PAI}/jobs`, yaml)

/** Changes to a job; what the page shows of jobs is asked again afterwards. */
export function useJobChanges() {
  const client = useQueryClient()
  const refresh = () => Promise.all([client.invalidateQueries({ queryKey: ['jobs'] }), client.invalidateQueries({ queryKey: ['job'] })])
  const tag = (method: string) => async (user: string, name: string, value: string) => {
    await send(method, `${OPENPAI}/jobs/${segment(user, name)}/tag`, { value })
    await refresh()
  }
  return {
    async stop(user: string, name: string) {
      await send('PUT', `${PAI}/jobs/${segment(user, name)}/executionType`, { value: 'STOP' })
      await refresh()
    },
    addTag: tag('PUT'),
    removeTag: tag('DELETE'),
  }
}
