// Checks the page in Chromium as people use it. PAI_PORTAL is a portal; PAI_PICTURES is
// where pictures of every page go, if it is set.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const base = process.env.PAI_PORTAL
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const browser = await chromium.launch({ executablePath: process.env.PAI_CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
const wide = { width: 1280, height: 900 }
const narrow = { width: 360, height: 740 }
const failures = []
const faults = []

async function open(options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: wide, reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  page.on('pageerror', (e) => faults.push(`script: ${e.message}`))
  page.on('console', (m) => {
    if (/Content Security Policy|Refused to/.test(m.text())) faults.push(`policy: ${m.text()}`)
  })
  page.on('request', (r) => {
    if (!r.url().startsWith(base) && !r.url().startsWith('data:')) faults.push(`request to ${r.url()}`)
  })
  return page
}

async function signIn(page, user, path = '/jobs') {
  await page.goto(base + path)
  await page.getByLabel('User name').fill(user)
  await page.getByLabel('Password').fill(process.env.PAI_PASSWORD)
  await page.getByRole('button', { name: 'Sign in' }).click()
  // The page of the sign-in has a heading, too; leaving it earlier would end the request.
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ state: 'detached' })
  await page.getByRole('heading', { level: 1 }).first().waitFor()
}

async function check(name, run) {
  const start = Date.now()
  try {
    await run()
    if (faults.length) throw new Error(faults.splice(0).join('\n'))
    console.log(`ok   ${name} (${Date.now() - start} ms)`)
  } catch (e) {
    faults.length = 0
    failures.push(name)
    console.log(`FAIL ${name}: ${e.message}`)
  }
}

function must(truth, what) {
  if (!truth) throw new Error(what)
}

/** axe runs in an isolated world: the policy of the page allows no other script. */
async function accessible(page, where) {
  const session = await page.context().newCDPSession(page)
  const { frameTree } = await session.send('Page.getFrameTree')
  const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id })
  const { result } = await session.send('Runtime.evaluate', {
    contextId: executionContextId, awaitPromise: true, returnByValue: true,
    expression: `${axe};axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })
      .then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.target + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`,
  })
  await session.detach()
  must(Array.isArray(result.value), `axe did not run: ${JSON.stringify(result)}`)
  must(result.value.length === 0, `${where}: ${result.value.join('\n')}`)
}

const pages = [
  ['jobs', '/jobs', 'train-resnet'], ['job', '/jobs/ada/train-resnet', 'Lived through: Upgrade v0.10 → v0.11'], ['job-failed', '/jobs/ada/preprocess', 'exit code 137'],
  ['tasks', '/jobs/bob/sweep?tab=tasks', '1–50 of 130'], ['output', '/jobs/ada/train-resnet?tab=output', 'Live'], ['configuration', '/jobs/ada/train-resnet?tab=configuration', 'what a user wrote'],
  ['submit', '/submit', 'What it will be'], ['upgrade', '/upgrade', 'is in progress'], ['machines', '/machines', 'gpu-2'], ['virtual-clusters', '/virtual-clusters', 'research'],
  ['profile', '/profile', 'Application tokens'], ['users', '/users', 'bob'], ['groups', '/groups', 'adminGroup'], ['versions', '/versions', 'v1.37.2'],
]

for (const [kind, options] of [['wide-light', { colorScheme: 'light' }], ['narrow-dark', { viewport: narrow, colorScheme: 'dark', hasTouch: true }]]) {
  const page = await open(options)
  await check(`sign-in ${kind}`, async () => {
    await page.goto(`${base}/jobs`)
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await accessible(page, 'sign-in')
    if (process.env.PAI_PICTURES) await page.screenshot({ path: `${process.env.PAI_PICTURES}/sign-in-${kind}.png` })
    await signIn(page, 'ada')
  })
  for (const [name, path, text] of pages) {
    await check(`${name} ${kind}`, async () => {
      await page.goto(base + path)
      await page.getByText(text).first().waitFor({ state: 'attached' })
      await page.waitForTimeout(300)
      if (process.env.PAI_PICTURES) await page.screenshot({ path: `${process.env.PAI_PICTURES}/${name}-${kind}.png` })
      const across = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      must(across <= 0, `${name}: ${across} pixels wider than the window`)
      await accessible(page, name)
      must(!(await page.evaluate(() => window.injected)), 'a text of a user ran as a script')
    })
  }
  await page.context().close()
}

const page = await open()
await check('a wrong password is refused in words', async () => {
  await page.goto(`${base}/jobs/ada/train-resnet`)
  await page.getByLabel('User name').fill('ada')
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('alert').waitFor()
  await page.getByLabel('Password').fill(process.env.PAI_PASSWORD)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL('**/jobs/ada/train-resnet')
})
await check('filters are in the address', async () => {
  await page.goto(`${base}/jobs`)
  await page.getByLabel(/^Search/).fill('sweep')
  await page.waitForURL('**/jobs?keyword=sweep')
  await page.getByText('1 job', { exact: true }).waitFor()
  await page.goto(`${base}/jobs?state=WAITING`)
  await page.getByText('finetune').waitFor()
  must(!(await page.getByText('train-resnet').isVisible()), 'the filter of the address is not used')
})
await check('a job is submitted, with problems at their places before, and stopped', async () => {
  await page.goto(`${base}/submit`)
  const editor = page.getByRole('textbox', { name: 'Job in YAML' })
  await page.getByText('Valid', { exact: true }).waitFor()
  await editor.fill('protocolVersion: 2\nname: fresh\ntype: job\ntaskRols: {}\n')
  await page.getByText(/line \d+/).first().waitFor()
  await page.locator('.cm-lintRange-error').first().waitFor({ state: 'attached' })
  await page.goto(`${base}/submit?from=ada/train-resnet`)
  await page.getByText('name: train-resnet-2 # the name').waitFor()
  await page.getByText('Valid', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'Submit', exact: true }).click()
  await page.waitForURL('**/jobs/ada/train-resnet-2')
  await page.getByText('It waits').waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click()
  await page.getByText('A user stopped it.').waitFor()
})
await check('output is searched, and continues over an outage without a gap', async () => {
  await page.goto(`${base}/jobs/ada/train-resnet?tab=output`)
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByRole('searchbox').fill('step 100 ')
  await page.getByRole('button', { name: 'Next match' }).click()
  await page.locator('.line-at mark').waitFor()
  await page.request.get(`${base}/test/away/on`)
  await page.getByText(/Interrupted: the page continues/).waitFor()
  await page.getByText(/The API has been unavailable since/).waitFor()
  await page.getByText('step 100 ').first().waitFor()
  await page.request.get(`${base}/test/away/off`)
  await page.getByText('Live', { exact: true }).waitFor()
  await page.getByText(/The API has been unavailable since/).waitFor({ state: 'detached' })
  await page.getByRole('checkbox', { name: 'Follow' }).check()
  await page.waitForTimeout(600)
  const steps = await page.locator('.line').allTextContents()
  const numbers = steps.map((s) => Number(/step (\d+)/.exec(s)?.[1]))
  must(numbers.length > 10 && numbers.every((n, i) => i === 0 || n === numbers[i - 1] + 1), `lines are missing or repeated: ${numbers}`)
})
await check('while the API is unavailable every page that was open stays', async () => {
  await page.goto(`${base}/jobs`)
  await page.getByText('finetune').waitFor()
  await page.request.get(`${base}/test/away/on`)
  await page.getByText(/The API has been unavailable since/).waitFor()
  must(await page.getByText('finetune').isVisible(), 'the list went away with the API')
  if (process.env.PAI_PICTURES) await page.screenshot({ path: `${process.env.PAI_PICTURES}/away-wide-light.png` })
  await accessible(page, 'away')
  await page.request.get(`${base}/test/away/off`)
  await page.getByText(/The API has been unavailable since/).waitFor({ state: 'detached' })
  await page.getByRole('link', { name: 'Upgrades' }).click()
  await page.getByText(/Unavailable at/).waitFor()
})
await check('a list without the history says that it is not complete', async () => {
  await page.request.get(`${base}/test/incomplete/on`)
  await page.goto(`${base}/jobs`)
  await page.getByText(/The list is not complete/).waitFor()
  must(await page.getByText('finetune').isVisible(), 'the jobs of the cluster are missing')
  await accessible(page, 'incomplete')
  await page.request.get(`${base}/test/incomplete/off`)
  await page.getByText(/The list is not complete/).waitFor({ state: 'detached' })
})
await check('the keyboard reaches the content first', async () => {
  await page.goto(`${base}/jobs`)
  await page.getByText('finetune').waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  must(await page.evaluate(() => document.activeElement?.id === 'content'), 'the link to skip the navigation does not work')
})
await check('a token is shown once, and revoked', async () => {
  await page.goto(`${base}/profile`)
  await page.getByRole('button', { name: 'Create application token' }).click()
  await page.locator('.secret').waitFor()
  await page.reload()
  await page.getByText('application', { exact: true }).waitFor()
  must((await page.locator('.secret').count()) === 0, 'the token is shown again')
  const rows = page.getByRole('row').filter({ hasText: 'application' })
  await rows.getByRole('button').click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await page.getByText('application', { exact: true }).waitFor({ state: 'detached' })
})
await check('no script can read the session', async () => {
  must((await page.evaluate(() => document.cookie)) === '', 'the cookie is readable')
})
await check('another user sees neither the administration nor the job of others', async () => {
  const other = await open()
  await signIn(other, 'bob')
  await other.getByText('etl').waitFor()
  must((await other.getByRole('link', { name: 'Users' }).count()) === 0, 'the administration is shown')
  await other.goto(`${base}/jobs/ada/train-resnet`)
  await other.getByText('No such job').waitFor()
  await other.goto(`${base}/machines`)
  await other.getByText('administrators only').waitFor()
  await accessible(other, 'machines of a user')
  await other.context().close()
})
await check('signing out ends the session', async () => {
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  must((await page.request.get(`${base}/api/session`)).status() === 401, 'the session is still valid')
})

await browser.close()
if (failures.length) {
  console.log(`${failures.length} checks failed: ${failures.join(', ')}`)
  process.exit(1)
}
