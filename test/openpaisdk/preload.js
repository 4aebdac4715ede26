// The document of the API refers to the schema of jobs at an address that is not
// reachable from where tests run. This answers such a request; nothing else changes.
const nock = require('nock');
const schema = {
  openapi: '3.0.1',
  components: {schemas: {JobProtocol: {
    type: 'object',
    required: ['protocolVersion', 'name', 'type', 'taskRoles'],
    properties: {
      protocolVersion: {oneOf: [{type: 'number', enum: [2]}, {type: 'string', enum: ['2']}]},
      name: {type: 'string', pattern: '^[a-zA-Z0-9_-]+$'},
      type: {type: 'string', enum: ['job']},
      taskRoles: {type: 'object', additionalProperties: {type: 'object', required: ['dockerImage', 'resourcePerInstance', 'commands']}},
    },
  }}},
};
nock('https://raw.githubusercontent.com')
  .get('/microsoft/openpai-protocol/master/schemas/v2/schema.yaml')
  .reply(200, JSON.stringify(schema));
nock.enableNetConnect();
