import { expect, test } from 'vitest'
import { Assembler, marked, readLine, search } from './output'

const text = (lines: { text: string }[]) => lines.map((l) => l.text)

test('parts of a stream become lines, wherever they are cut', () => {
  const a = new Assembler()
  a.resume()
  expect(a.push('2026-01-01T00:00:00Z one\n2026-01')).toHaveLength(1)
  expect(text(a.push('-01T00:00:01.5Z two\n'))).toEqual(['two'])
  a.push('2026-01-01T00:00:02Z end')
  expect(text(a.finish())).toEqual(['end'])
})

test('a stream that breaks continues without a gap and without a repetition', () => {
  const a = new Assembler()
  a.resume()
  a.push('2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:00.2Z two\n2026-01-01T00:00:00.2Z three\n2026-01-01T00:00:00.3Z hal')
  expect(a.since).toBe('2026-01-01T00:00:00.200000000Z')
  a.resume()
  const again = '2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:00.2Z two\n2026-01-01T00:00:00.2Z three\n2026-01-01T00:00:00.2Z four\n2026-01-01T00:00:00.3Z half\n'
  expect(text(a.push(again))).toEqual(['four', 'half'])
})

test('two breaks in the same second repeat nothing', () => {
  const a = new Assembler()
  a.resume()
  a.push('2026-01-01T00:00:00.2Z one\n')
  for (let i = 0; i < 2; i++) {
    a.resume()
    expect(a.push('2026-01-01T00:00:00.2Z one\n')).toEqual([])
  }
  expect(text(a.push('2026-01-01T00:00:01Z two\n'))).toEqual(['two'])
})

test('times with other digits compare as times', () => {
  const a = new Assembler()
  a.resume()
  a.push('2026-01-01T00:00:00.100000000Z one\n')
  a.resume()
  expect(text(a.push('2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:00.11Z two\n'))).toEqual(['two'])
})

test('a line shows what a terminal would show of it', () => {
  expect(readLine('2026-01-01T00:00:00Z 10%\r50%\r100%').text).toBe('100%')
  expect(readLine(`2026-01-01T00:00:00Z ${String.fromCharCode(27)}[31mred${String.fromCharCode(27)}[0m`).text).toBe('red')
  expect(readLine('without a time')).toEqual({ time: '', text: 'without a time' })
})

test('search ignores the case and marks every place', () => {
  const lines = [{ time: '', text: 'Loss 1' }, { time: '', text: 'step' }, { time: '', text: 'loss LOSS' }]
  expect(search(lines, 'loss')).toEqual([0, 2])
  expect(search(lines, '')).toEqual([])
  expect(marked('loss LOSS', 'loss').filter((p) => p.hit)).toHaveLength(2)
  expect(marked('a.b', '.').map((p) => p.text)).toEqual(['a', '.', 'b'])
})
