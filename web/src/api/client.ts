import { QueryClient } from '@tanstack/react-query'
import { Unavailable } from './http'

/** The store of what the page knows. While the server is unavailable, it keeps what it has and asks again. */
export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        networkMode: 'always',
        retry: (_, error) => error instanceof Unavailable,
        retryDelay: (n) => Math.min(1000 * 2 ** n, 5000),
        staleTime: 2000,
        gcTime: 30 * 60_000,
      },
      mutations: { networkMode: 'always', retry: false },
    },
  })
}
