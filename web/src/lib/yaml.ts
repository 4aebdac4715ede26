/** Gives a job in YAML another name, and changes nothing else: comments and order stay. */
export function rename(yaml: string, name: string): string {
  return yaml.replace(/^(name:[ \t]*)(?:"[^"\n]*"|'[^'\n]*'|[^\s#][^#\n]*?)([ \t]*(?:#.*)?)$/m, (_, key: string, rest: string) => `${key}${name}${rest}`)
}

/** The name for another run: "train" → "train-2" → "train-3". */
export function nextName(name: string): string {
  const m = /^(.*)-(\d+)$/.exec(name)
  return m ? `${m[1]}-${Number(m[2]) + 1}` : `${name}-2`
}

/** The place of a problem in a text: its offset, and that of the end of the word there. */
export function placeOf(text: string, line: number | undefined, column: number | undefined): { from: number; to: number } {
  const lines = text.split('\n')
  const n = Math.min(Math.max(1, line ?? 1), lines.length)
  const start = lines.slice(0, n - 1).reduce((sum, l) => sum + l.length + 1, 0)
  const content = lines[n - 1] ?? ''
  const first = content.length - content.trimStart().length
  const at = Math.min(column && column > 0 ? column - 1 : first, content.length)
  const word = /^[^\s:#,[\]{}]+/.exec(content.slice(at))
  const end = column && word ? at + word[0].length : content.length
  return { from: start + Math.min(at, end), to: start + Math.max(at, end) }
}
