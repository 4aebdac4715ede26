import { lazy, type ComponentType } from 'react'

const key = 'pai-loaded-again'

/**
 * A page that is loaded when it is opened. After an upgrade of the portal, an open page
 * asks for files that are no longer there: it loads itself again, once.
 */
export function later<P>(load: () => Promise<{ default: ComponentType<P> }>) {
  return lazy(async () => {
    try {
      const page = await load()
      sessionStorage.removeItem(key)
      return page
    } catch (e) {
      if (sessionStorage.getItem(key)) throw e
      sessionStorage.setItem(key, '1')
      location.reload()
      return new Promise<never>(() => {})
    }
  })
}
