// Parses AsyncAPI documents with the official parser. Exit codes: 0 valid; 1 not; 2 wrong usage.
import { readFile } from 'node:fs/promises';

import { AvroSchemaParser } from '@asyncapi/avro-schema-parser';
import { Parser } from '@asyncapi/parser';

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: check.js FILE…');
  process.exit(2);
}
const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
let valid = true;
for (const file of files) {
  const { document, diagnostics } = await parser.parse(await readFile(file, 'utf8'), { source: file });
  for (const { severity, range, message, path } of diagnostics) {
    const kind = ['error', 'warning', 'info', 'hint'][severity];
    console.error(`${file}:${range.start.line + 1}: ${kind}: ${message} (${path.join('/')})`);
  }
  if (document === undefined || diagnostics.some(({ severity }) => severity === 0)) {
    valid = false;
  } else {
    console.log(`${file}: AsyncAPI ${document.version()}, ${document.channels().length} channels, ${document.operations().length} operations, ${document.allMessages().length} messages`);
  }
}
process.exit(valid ? 0 : 1);
