import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect } from 'react'
import { ApiError, get, onSignedOut, request, send } from './http'
import type { Session } from './types'

const key = ['session']
const path = '/api/session'

/** The signed-in user; null if no user is signed in, undefined while that is unknown. */
export function useSession(): Session | null | undefined {
  const client = useQueryClient()
  const clear = useCallback(() => client.setQueryData(key, null), [client])
  useEffect(() => onSignedOut(clear), [clear])
  return useQuery({
    queryKey: key,
    queryFn: async ({ signal }) => {
      try {
        return await get<Session>(path, signal)
      } catch (e) {
        if (e instanceof ApiError && e.status === 401) return null
        throw e
      }
    },
    staleTime: Infinity,
  }).data
}

/** Signs in and out. What the page knew of the user before is deleted. */
export function useSigning() {
  const client = useQueryClient()
  // The query of the session stays: the page watches it, and would not notice another one.
  const deleteRest = () => client.removeQueries({ predicate: (query) => query.queryKey[0] !== key[0] })
  return {
    async signIn(username: string, password: string) {
      await send('POST', path, { username, password })
      const session = await get<Session>(path)
      deleteRest()
      client.setQueryData(key, session)
    },
    async signOut() {
      await request(path, { method: 'DELETE' })
      deleteRest()
      sessionStorage.clear()
      client.setQueryData(key, null)
    },
  }
}
