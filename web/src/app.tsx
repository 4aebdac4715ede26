import { Suspense } from 'react'
import { Redirect, Route, Switch, useLocation, useSearch } from 'wouter'
import { useSession } from './api/session'
import { later } from './lib/later'
import { m } from './messages'
import { Empty, Loading } from './parts/basics'
import { Boundary } from './parts/boundary'
import { Shell } from './parts/shell'
import { Stale } from './parts/stale'
import { SignIn } from './pages/signin'

const Jobs = later(() => import('./pages/jobs'))
const Job = later(() => import('./pages/job'))
const Submit = later(() => import('./pages/submit'))
const Upgrade = later(() => import('./pages/upgrade'))
const Machines = later(() => import('./pages/machines'))
const VirtualClusters = later(() => import('./pages/virtualclusters'))
const Profile = later(() => import('./pages/profile'))
const Users = later(() => import('./pages/users'))
const Groups = later(() => import('./pages/groups'))
const Versions = later(() => import('./pages/versions'))

export function App() {
  const session = useSession()
  const [path] = useLocation()
  const search = useSearch()
  if (session === undefined) return <main className="alone"><Stale /><Loading /></main>
  if (session === null) {
    if (path === '/sign-in') return <SignIn />
    const here = path + (search ? `?${search}` : '')
    return <Redirect to={here === '/' ? '/sign-in' : `/sign-in?from=${encodeURIComponent(here)}`} replace />
  }
  if (path === '/sign-in') return <Redirect to={landing(search)} replace />
  return (
    <Shell session={session}>
      <Boundary key={path}>
        <Suspense fallback={<Loading />}>
          <Switch>
            <Route path="/"><Redirect to="/jobs" replace /></Route>
            <Route path="/jobs"><Jobs session={session} /></Route>
            <Route path="/jobs/:user/:name">{({ user, name }) => <Job key={`${user}/${name}`} user={user} name={name} session={session} />}</Route>
            <Route path="/submit"><Submit /></Route>
            <Route path="/upgrade"><Upgrade session={session} /></Route>
            <Route path="/machines"><Machines session={session} /></Route>
            <Route path="/virtual-clusters"><VirtualClusters session={session} /></Route>
            <Route path="/profile"><Profile session={session} /></Route>
            <Route path="/users"><Users session={session} /></Route>
            <Route path="/groups"><Groups session={session} /></Route>
            <Route path="/versions"><Versions session={session} /></Route>
            <Route path="/services"><Redirect to="/versions" replace /></Route>
            <Route><Empty title={m.notFound.title}>{m.notFound.help}</Empty></Route>
          </Switch>
        </Suspense>
      </Boundary>
    </Shell>
  )
}

/** Where a sign-in leads to: a path of this page, and nothing else. */
export function landing(search: string): string {
  const from = new URLSearchParams(search).get('from') ?? ''
  return /^\/(?![/\\])/.test(from) ? from : '/jobs'
}
