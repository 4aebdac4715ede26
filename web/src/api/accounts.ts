import { useQuery, useQueryClient } from '@tanstack/react-query'
import { readTokens } from '../lib/tokens'
import { get, REST, send } from './http'
import type { Group, UserInfo } from './types'

const V2 = `${REST}/rest-server/api/v2`

export function useUsers() {
  return useQuery({ queryKey: ['users'], queryFn: ({ signal }) => get<UserInfo[]>(`${V2}/users`, signal) })
}

export function useUser(name: string) {
  return useQuery({ queryKey: ['users', name], queryFn: ({ signal }) => get<UserInfo>(`${V2}/users/${encodeURIComponent(name)}`, signal) })
}

export function useGroups() {
  return useQuery({ queryKey: ['groups'], queryFn: ({ signal }) => get<Group[]>(`${V2}/groups`, signal) })
}

export function useTokens() {
  return useQuery({
    queryKey: ['tokens'],
    queryFn: async ({ signal }) => readTokens((await get<{ tokens: string[] }>(`${V2}/tokens`, signal)).tokens),
  })
}

export type UserChange = Partial<UserInfo> & { username: string; password?: string }

/** Changes to accounts; the lists are asked again afterwards. */
export function useAccountChanges() {
  const client = useQueryClient()
  const then = async <T>(key: string, change: Promise<T>): Promise<T> => {
    const result = await change
    await client.invalidateQueries({ queryKey: [key] })
    return result
  }
  return {
    createUser: (u: UserChange) => then('users', send('POST', `${V2}/users`, u)),
    updateUser: (u: UserChange) => then('users', send('PUT', `${V2}/users`, { data: u, patch: true })),
    deleteUser: (name: string) => then('users', send('DELETE', `${V2}/users/${encodeURIComponent(name)}`)),
    updateMe: (me: { username: string; email?: string; oldPassword?: string; newPassword?: string }) =>
      then('users', send('PUT', `${V2}/users/me`, { data: me, patch: true })),
    createGroup: (g: Group) => then('groups', send('POST', `${V2}/groups`, g)),
    updateGroup: (g: Group) => then('groups', send('PUT', `${V2}/groups`, { data: g, patch: true })),
    deleteGroup: (name: string) => then('groups', send('DELETE', `${V2}/groups/${encodeURIComponent(name)}`)),
    createToken: () => then('tokens', send<{ token: string }>('POST', `${V2}/tokens/application`)),
    revokeToken: (listed: string) => then('tokens', send('DELETE', `${V2}/tokens/${encodeURIComponent(listed)}`)),
  }
}
