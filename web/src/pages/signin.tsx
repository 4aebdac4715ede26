import { useState } from 'react'
import { useSigning } from '../api/session'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Failure } from '../parts/dialog'
import { Field } from '../parts/fields'

export function SignIn() {
  useTitle(m.signIn.title)
  const { signIn } = useSigning()
  const [user, setUser] = useState('')
  const [password, setPassword] = useState('')
  const [error, setError] = useState<unknown>()
  const [working, setWorking] = useState(false)
  const submit = async () => {
    setWorking(true)
    setError(undefined)
    try {
      await signIn(user.trim(), password)
    } catch (e) {
      setError(e)
      setPassword('')
      setWorking(false)
    }
  }
  return (
    <main className="alone">
      <form className="card signin" onSubmit={(e) => { e.preventDefault(); void submit() }}>
        <p className="logo"><span className="mark" aria-hidden="true">P</span>{m.product}</p>
        <h1>{m.signIn.title}</h1>
        <Field label={m.signIn.user} value={user} onChange={setUser} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus name="username" />
        <Field label={m.signIn.password} value={password} onChange={setPassword} type="password" autoComplete="current-password" required name="password" />
        <Failure error={error} />
        <button type="submit" className="primary" disabled={working}>{working ? m.signIn.working : m.signIn.submit}</button>
        <p className="quiet">{m.signIn.help}</p>
      </form>
    </main>
  )
}
