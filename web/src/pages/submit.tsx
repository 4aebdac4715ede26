import { useQuery, useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useEffect, useMemo, useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import { useVirtualClusters } from '../api/cluster'
import { ApiError, Unavailable, type Problem } from '../api/http'
import { dryRun, submit, useConfig } from '../api/jobs'
import type { Preview } from '../api/types'
import { fit } from '../lib/fit'
import { templates, type Template } from '../lib/templates'
import { useSettled, useTitle } from '../lib/use'
import { nextName, placeOf, rename } from '../lib/yaml'
import { m } from '../messages'
import { Fact, Facts, Head, Loading, Refusal } from '../parts/basics'
import { Failure, FormDialog } from '../parts/dialog'
import type { Mark } from '../parts/editor'
import { Choice } from '../parts/fields'

const Editor = lazy(() => import('../parts/editor'))
const draftKey = 'pai-draft'
const t = m.submit

/** What the server says of the text, as one types. */
function useCheck(text: string) {
  const settled = useSettled(text, 500)
  const query = useQuery<{ preview?: Preview; error?: ApiError }>({
    queryKey: ['dry-run', settled],
    queryFn: async ({ signal }) => {
      try {
        return { preview: await dryRun(settled, signal) }
      } catch (e) {
        if (e instanceof ApiError) return { error: e }
        throw e
      }
    },
    enabled: settled.trim() !== '',
    gcTime: 60_000,
    staleTime: 60_000,
    placeholderData: (previous) => previous,
  })
  const away = query.failureReason instanceof Unavailable
  return { ...query.data, checking: settled !== text || (query.isFetching && !away), away }
}

function Problems({ title, problems, kind, onJump, text }: { title: string; problems: Problem[]; kind: string; onJump: (at: number) => void; text: string }) {
  if (!problems.length) return null
  return (
    <section className={`problems problems-${kind}`}>
      <h2>{title}</h2>
      <ul>
        {problems.map((p, i) => (
          <li key={i}>
            {p.line ? (
              <button type="button" className="link" aria-label={t.jump(t.place(p.line, p.column ?? 0))} onClick={() => onJump(placeOf(text, p.line, p.column).from)}>
                {t.place(p.line, p.column ?? 0)}
              </button>
            ) : p.path && <code>{p.path}</code>}{' '}
            <span>{p.message}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}

function Result({ preview }: { preview: Preview }) {
  const clusters = useVirtualClusters()
  const f = fit(preview, clusters.data?.[preview.virtualCluster])
  const number = (n: number) => n.toLocaleString('en-US')
  const resource = f?.resource ? t.resources[f.resource] : ''
  return (
    <section className="card">
      <h2>{t.result}</h2>
      {f && (
        <p className={`fit fit-${f.kind}`}>
          {f.kind === 'fits' ? t.fits : f.kind === 'waits' ? t.waits(resource, number(f.wanted), number(f.free)) : t.never(resource, number(f.wanted), number(f.total))}
        </p>
      )}
      <Facts>
        <Fact name={t.job}>{preview.id.replace('~', '/')}</Fact>
        <Fact name={t.virtualCluster}>{preview.virtualCluster}</Fact>
        <Fact name={t.tasks}>{preview.tasks}</Fact>
        <Fact name={t.total}>{t.amount(preview.total.cpu, preview.total.memoryMB, preview.total.gpu)}</Fact>
      </Facts>
      <ul className="roles">
        {preview.taskRoles.map((r) => (
          <li key={r.name}>
            <strong>{t.roles(r.name, r.instances)}</strong>, {t.each}: {t.amount(r.each.cpu, r.each.memoryMB, r.each.gpu)}
            <br /><span className="quiet">{t.image}: {r.image}</span>
          </li>
        ))}
      </ul>
      <p className="quiet">{t.fitNote}</p>
    </section>
  )
}

/** The text to start with: a copy of a job, what was typed before, or a template. */
function useStart(): { text: string | undefined; from: string; error: unknown } {
  const from = new URLSearchParams(useSearch()).get('from') ?? ''
  const [, user = '', name = ''] = /^([^/]+)\/([^/]+)$/.exec(from) ?? []
  const config = useConfig(user, name, name !== '')
  const copy = useMemo(() => (config.data === undefined ? undefined : rename(config.data, nextName(name))), [config.data, name])
  if (name) return { text: copy, from, error: config.error }
  return { text: sessionStorage.getItem(draftKey) ?? templates.train, from: '', error: undefined }
}

export default function Submit() {
  useTitle(t.title)
  const start = useStart()
  if (start.text === undefined) return start.error ? <Refusal error={start.error} /> : <Loading />
  return <Form key={start.from} initial={start.text} from={start.from} />
}

function Form({ initial, from }: { initial: string; from: string }) {
  const [, go] = useLocation()
  const client = useQueryClient()
  const [text, setText] = useState(initial)
  const [jump, setJump] = useState<{ at: number }>()
  const [replacing, setReplacing] = useState<Template>()
  const [error, setError] = useState<unknown>()
  const [working, setWorking] = useState(false)
  const { preview, error: refused, checking, away } = useCheck(text)
  useEffect(() => {
    if (!from) sessionStorage.setItem(draftKey, text)
  }, [text, from])
  const marks = useMemo((): Mark[] => [
    ...(refused?.problems ?? []).map((p) => ({ ...placeOf(text, p.line, p.column), severity: 'error' as const, message: p.message })),
    ...(preview?.warnings ?? []).map((p) => ({ ...placeOf(text, p.line, p.column), severity: 'warning' as const, message: p.message })),
  ], [refused, preview, text])
  const pristine = text === initial || Object.values(templates).some((x) => x === text)
  const use = (name: Template) => { setText(templates[name]); setReplacing(undefined) }
  const send = async () => {
    setWorking(true)
    setError(undefined)
    try {
      const done = await submit(text)
      sessionStorage.removeItem(draftKey)
      await client.invalidateQueries({ queryKey: ['jobs'] })
      go(`/jobs/${encodeURIComponent(done.user)}/${encodeURIComponent(done.name)}`)
    } catch (e) {
      setError(e)
      setWorking(false)
    }
  }
  const problems = refused?.problems ?? []
  const status = !text.trim() ? t.empty : away ? t.unchecked : checking ? t.checking : refused ? t.invalid(Math.max(1, problems.length)) : preview ? t.valid : t.checking
  return (
    <>
      <Head title={t.title}>
        <span role="status" className={`check-status ${refused && !checking ? 'bad' : preview && !checking ? 'good' : ''}`}>{status}</span>
        <button type="button" className="primary" disabled={working || !text.trim() || (refused !== undefined && !away)} onClick={() => void send()}>{working ? t.submitting : t.submit}</button>
      </Head>
      <Failure error={error} />
      {from && <p className="note">{t.from(from)}</p>}
      {/\*{6}/.test(text) && <p className="note">{t.secretsHidden}</p>}
      <div className="filter-row">
        <Choice label={t.template} value="own" options={Object.entries(t.templates) as [Template | 'own', string][]}
          onChange={(name) => { if (name !== 'own') { if (pristine) use(name); else setReplacing(name) } }} />
        <p className="quiet grow">{t.keys}</p>
      </div>
      <div className="submit">
        <Suspense fallback={<Loading />}>
          <Editor label={t.editor} value={text} onChange={setText} marks={marks} jump={jump} />
        </Suspense>
        <div className="submit-side">
          {refused && <Problems title={t.problems} kind="error" problems={problems.length ? problems : [{ message: refused.message }]} text={text} onJump={(at) => setJump({ at })} />}
          {refused && !problems.length && refused.next && <p className="quiet">{m.nextStep(refused.next)}</p>}
          {preview && <Problems title={t.warnings} kind="warning" problems={preview.warnings ?? []} text={text} onJump={(at) => setJump({ at })} />}
          {preview && <Result preview={preview} />}
        </div>
      </div>
      {replacing && (
        <FormDialog title={t.replace} action={t.replaceDo} onClose={() => setReplacing(undefined)} onSubmit={() => Promise.resolve(use(replacing))}>
          <p>{t.replaceHelp}</p>
        </FormDialog>
      )}
    </>
  )
}
