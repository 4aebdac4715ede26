import { useState, type ReactNode } from 'react'
import { Link, useLocation } from 'wouter'
import { useInfo } from '../api/cluster'
import { useSigning } from '../api/session'
import type { Session } from '../api/types'
import { readTheme, setTheme, type Theme } from '../lib/theme'
import { m } from '../messages'
import { Choice } from './fields'
import { Stale } from './stale'

function Nav({ session, onGo }: { session: Session; onGo: () => void }) {
  const [path] = useLocation()
  const link = (to: string, text: string) => {
    const here = path === to || path.startsWith(`${to}/`)
    return <li><Link href={to} onClick={onGo} {...(here ? { 'aria-current': 'page' as const } : {})}>{text}</Link></li>
  }
  return (
    <>
      <ul>
        {link('/jobs', m.nav.jobs)}
        {link('/submit', m.nav.submit)}
        {link('/upgrade', m.nav.upgrade)}
        {link('/machines', m.nav.machines)}
        {link('/virtual-clusters', m.nav.virtualClusters)}
        {link('/versions', m.nav.versions)}
        {link('/profile', m.nav.profile)}
      </ul>
      {session.admin && (
        <>
          <p className="nav-head" id="nav-admin">{m.nav.admin}</p>
          <ul aria-labelledby="nav-admin">
            {link('/users', m.nav.users)}
            {link('/groups', m.nav.groups)}
          </ul>
        </>
      )}
    </>
  )
}

/** What is around every page. */
export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const [open, setOpen] = useState(false)
  const [theme, choose] = useState<Theme>(readTheme)
  const { signOut } = useSigning()
  const info = useInfo()
  return (
    <div className="shell">
      <a className="skip" href="#content">{m.skip}</a>
      <header className="bar">
        <Link href="/jobs" className="logo"><span className="mark" aria-hidden="true">P</span>{m.product}</Link>
        <span className="release">{info.data?.release}</span>
        <button type="button" className="menu" aria-expanded={open} aria-controls="side" onClick={() => setOpen(!open)}>{m.menu}</button>
      </header>
      <div id="side" className={open ? 'side open' : 'side'}>
        <nav aria-label={m.nav.label}><Nav session={session} onGo={() => setOpen(false)} /></nav>
        <div className="side-end">
          <Choice label={m.nav.theme} value={theme} options={Object.entries(m.nav.themes) as [Theme, string][]}
            onChange={(t) => { setTheme(t); choose(t) }} />
          <p className="quiet">{m.nav.signedIn(session.username)}</p>
          <button type="button" onClick={() => void signOut()}>{m.nav.signOut}</button>
        </div>
      </div>
      <main id="content" tabIndex={-1}>
        <Stale />
        {children}
      </main>
    </div>
  )
}
