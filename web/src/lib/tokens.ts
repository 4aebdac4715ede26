/** A token as the server lists it: enough to recognize and revoke it, not to use it. */
export interface Token {
  listed: string
  id: string
  application: boolean
  issued?: number
  expires?: number
}

function claims(text: string): { application?: boolean; iat?: number; exp?: number } {
  try {
    return JSON.parse(atob((text.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))
  } catch {
    return {} // a token of another form is listed without details
  }
}

/** Reads the list of tokens, the newest first. */
export function readTokens(list: string[]): Token[] {
  return list
    .map((listed) => {
      const c = claims(listed)
      return {
        listed,
        id: listed.slice(listed.lastIndexOf('.') + 1),
        application: c.application === true,
        ...(c.iat ? { issued: c.iat * 1000 } : {}),
        ...(c.exp ? { expires: c.exp * 1000 } : {}),
      }
    })
    .sort((a, b) => (b.issued ?? 0) - (a.issued ?? 0))
}
