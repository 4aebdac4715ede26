import { useState } from 'react'
import { useAccountChanges, useTokens, useUser } from '../api/accounts'
import type { Session } from '../api/types'
import type { Token } from '../lib/tokens'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Copy, Empty, Fact, Facts, Head, Loading, Refusal, Time } from '../parts/basics'
import { Failure, FormDialog } from '../parts/dialog'
import { Field } from '../parts/fields'
import { Table, type Column } from '../parts/table'

const t = m.profile

function Account({ session }: { session: Session }) {
  const { data: me, error } = useUser(session.username)
  const { updateMe } = useAccountChanges()
  const [typed, setTyped] = useState<string>()
  const [saved, setSaved] = useState(false)
  const [failure, setFailure] = useState<unknown>()
  if (!me) return error ? <Refusal error={error} /> : <Loading />
  const email = typed ?? me.email ?? ''
  const save = () => updateMe({ username: session.username, email }).then(() => { setSaved(true); setFailure(undefined) }, setFailure)
  return (
    <section className="card">
      <h2>{t.account}</h2>
      <Facts>
        <Fact name={t.name}>{me.username}</Fact>
        <Fact name={t.admin}>{me.admin ? t.yes : t.no}</Fact>
        <Fact name={t.groups}>{me.grouplist?.join(', ') || m.none}</Fact>
        <Fact name={t.virtualClusters}>{me.virtualCluster?.join(', ') || m.none}</Fact>
        {session.expires && <Fact name={t.expires}><Time at={session.expires} /></Fact>}
      </Facts>
      <form className="inline" onSubmit={(e) => { e.preventDefault(); void save() }}>
        <Field label={t.email} type="email" value={email} onChange={(v) => { setTyped(v); setSaved(false) }} autoComplete="email" />
        <button type="submit" disabled={email === (me.email ?? '')}>{t.save}</button>
        <span role="status">{saved && t.saved}</span>
      </form>
      <Failure error={failure} />
    </section>
  )
}

function Tokens() {
  const { data, error } = useTokens()
  const { createToken, revokeToken } = useAccountChanges()
  const [made, setMade] = useState('')
  const [revoking, setRevoking] = useState<Token>()
  const [failure, setFailure] = useState<unknown>()
  const columns: Column<Token>[] = [
    { key: 'kind', head: t.kind, cell: (k) => (k.application ? t.application : t.login) },
    { key: 'id', head: t.id, cell: (k) => <code>{k.id.slice(0, 12)}</code> },
    { key: 'issued', head: t.issued, cell: (k) => <Time at={k.issued} /> },
    { key: 'ends', head: t.ends, cell: (k) => (k.expires ? <Time at={k.expires} /> : t.never) },
    { key: 'revoke', head: t.revoke, cell: (k) => <button type="button" aria-label={t.revokeOf(k.id.slice(0, 12))} onClick={() => setRevoking(k)}>{t.revoke}</button> },
  ]
  return (
    <section className="card">
      <h2>{t.tokens}</h2>
      <p className="quiet">{t.tokensHelp}</p>
      <button type="button" className="primary" onClick={() => void createToken().then(({ token }) => { setMade(token); setFailure(undefined) }, setFailure)}>{t.create}</button>
      <Failure error={failure} />
      {made && (
        <div className="note" role="status">
          <p>{t.created}</p>
          <p><code className="secret">{made}</code></p>
          <Copy text={made} />
        </div>
      )}
      <Refusal error={error} />
      {data === undefined ? !error && <Loading /> : data.length === 0 ? <Empty title={t.noTokens} /> : <Table caption={t.caption} columns={columns} rows={data} rowKey={(k) => k.listed} />}
      {revoking && (
        <FormDialog title={t.confirmRevoke} action={t.revoke} danger onClose={() => setRevoking(undefined)} onSubmit={() => revokeToken(revoking.listed)}>
          <p><code>{revoking.id.slice(0, 12)}</code></p>
          <p>{t.confirmRevokeHelp}</p>
        </FormDialog>
      )}
    </section>
  )
}

function Password({ session }: { session: Session }) {
  const { updateMe } = useAccountChanges()
  const [old, setOld] = useState('')
  const [next, setNext] = useState('')
  const [again, setAgain] = useState('')
  const [error, setError] = useState<unknown>()
  const change = async () => {
    if (next !== again) return setError(new Error(t.differs))
    if (next.length < 6) return setError(new Error(t.short))
    try {
      await updateMe({ username: session.username, oldPassword: old, newPassword: next })
      location.assign('/sign-in')
    } catch (e) {
      setError(e)
    }
  }
  return (
    <section className="card">
      <h2>{t.password}</h2>
      <p className="quiet">{t.passwordHelp}</p>
      <form className="column" onSubmit={(e) => { e.preventDefault(); void change() }}>
        <Field label={t.old} type="password" autoComplete="current-password" required value={old} onChange={setOld} />
        <Field label={t.new} type="password" autoComplete="new-password" required value={next} onChange={setNext} />
        <Field label={t.repeat} type="password" autoComplete="new-password" required value={again} onChange={setAgain} />
        <Failure error={error} />
        <div><button type="submit">{t.change}</button></div>
      </form>
    </section>
  )
}

export default function Profile({ session }: { session: Session }) {
  useTitle(t.title)
  return (
    <>
      <Head title={t.title} />
      <Account session={session} />
      <Tokens />
      <Password session={session} />
      <section>
        <h2>{t.keys}</h2>
        <Empty title={t.keysNone}>{t.keysHelp}</Empty>
      </section>
    </>
  )
}
