import { useQuery } from '@tanstack/react-query'
import { ApiError, get, REST } from './http'
import type { Info, KubeNode, KubePod, Operations, VirtualCluster } from './types'

const OPENPAI = `${REST}/rest-server/api/v2`
const PAI = `${REST}/api/v2`

/** Asks for the server's description. It is also how the page notices that the API is unavailable. */
export function useInfo() {
  return useQuery({ queryKey: ['info'], queryFn: ({ signal }) => get<Info>(`${PAI}/info`, signal), refetchInterval: 5000 })
}

export function useVirtualClusters() {
  return useQuery({
    queryKey: ['virtual-clusters'],
    queryFn: ({ signal }) => get<Record<string, VirtualCluster>>(`${OPENPAI}/virtual-clusters`, signal),
    refetchInterval: 10_000,
  })
}

export interface GPUUse {
  gpuUsed: number
  gpuAvailable: number
  gpuTotal: number
}

export function useGPUUse() {
  return useQuery({
    queryKey: ['gpu-use'],
    queryFn: ({ signal }) => get<Record<string, GPUUse>>(`${OPENPAI}/virtual-clusters?nodes`, signal),
    refetchInterval: 10_000,
  })
}

/** Machines and pods as Kubernetes shows them, for administrators. */
export function useNodes(enabled: boolean) {
  return useQuery({
    queryKey: ['nodes'],
    queryFn: async ({ signal }) => (await get<{ items: KubeNode[] | null }>(`${OPENPAI}/kubernetes/nodes`, signal)).items ?? [],
    refetchInterval: 10_000,
    enabled,
  })
}

export function usePods(enabled: boolean) {
  return useQuery({
    queryKey: ['pods'],
    queryFn: async ({ signal }) => (await get<{ items: KubePod[] | null }>(`${OPENPAI}/kubernetes/pods`, signal)).items ?? [],
    refetchInterval: 10_000,
    enabled,
  })
}

/** Operations on the cluster; null if the server does not publish any (an older release). */
export function useOperations() {
  return useQuery({
    queryKey: ['operations'],
    queryFn: async ({ signal }) => {
      try {
        return await get<Operations>(`${PAI}/operations`, signal)
      } catch (e) {
        if (e instanceof ApiError && e.status === 404) return null
        throw e
      }
    },
    refetchInterval: ({ state }) => (state.data?.current ? 2000 : 10_000),
  })
}

export function useOperation(id: string, enabled: boolean) {
  return useQuery({
    queryKey: ['operations', 'one', id],
    queryFn: ({ signal }) => get<import('./types').Operation>(`${PAI}/operations/${encodeURIComponent(id)}`, signal),
    enabled,
  })
}
