import { lazy, Suspense } from 'react'
import { configPath, useConfig } from '../../api/jobs'
import { m } from '../../messages'
import { Copy, Loading, Refusal } from '../../parts/basics'

const Editor = lazy(() => import('../../parts/editor'))

export function Configuration({ user, name }: { user: string; name: string }) {
  const { data, error } = useConfig(user, name)
  if (data === undefined) return error ? <Refusal error={error} /> : <Loading />
  return (
    <>
      <div className="filter-row">
        <p className="quiet grow">{m.configuration.help}</p>
        <Copy text={data} />
        <a className="button" download={`${name}.yaml`} href={configPath(user, name)}>{m.configuration.download}</a>
      </div>
      <Suspense fallback={<Loading />}>
        <Editor label={m.job.tabs.configuration} value={data} readOnly />
      </Suspense>
    </>
  )
}
