import { useEffect, useState, useSyncExternalStore } from 'react'
import { contact } from '../api/contact'
import { m } from '../messages'

/** The time, again and again, so that ages stay right. */
export function useNow(every = 1000): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every)
    return () => clearInterval(timer)
  }, [every])
  return now
}

/** Whether the API answers this page. */
export const useContact = () => useSyncExternalStore(contact.subscribe, contact.get)

/** The name of the page in the window's title. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = m.title(title)
  }, [title])
}

/** A value that follows another one once that stays the same for some time. */
export function useSettled<T>(value: T, after = 400): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), after)
    return () => clearTimeout(timer)
  }, [value, after])
  return settled
}
