const __vite__mapDeps=(i,m=__vite__mapDeps,d=(m.f||(m.f=["assets/editor-Duy-JHTU.js","assets/jsx-runtime-DyZJNswf.js"])))=>i.map(i=>d[i]);
import{D as e,E as t,G as n,I as r,L as i,P as a,R as o,V as s,_ as c,a as l,b as u,g as d,n as f,ot as p,p as m,r as h,t as g,v as _,y as v}from"./index-C-ELC7c6.js";import{i as y,n as b,t as x}from"./jsx-runtime-DyZJNswf.js";import{a as S,o as C,r as w}from"./jobs-BquQ_wsV.js";var T=y(b(),1);function E(e,t){if(!t)return;let n=[`gpu`,`cpu`,`memory`].map(n=>{let r=n===`memory`?e.total.memoryMB:e.total[n],i=t.resourcesTotal[n];return{resource:n,wanted:r,total:i,free:Math.max(0,i-t.resourcesUsed[n])}}),r=n.find(e=>e.wanted>e.total);if(r)return{kind:`never`,...r};let i=n.find(e=>e.wanted>e.free);return i?{kind:`waits`,...i}:{kind:`fits`,wanted:0,free:0,total:0}}var D=`prerequisites:
  - name: image
    type: dockerimage
    uri: pai.local/example:v1   # your image, or this small one, which every cluster has
`,O={train:`protocolVersion: 2
name: train
type: job
${D}taskRoles:
  worker:
    instances: 1
    dockerImage: image
    resourcePerInstance:
      cpu: 1
      memoryMB: 512
      gpu: 0
    commands:
      - trainer --interval 1s --checkpoint /tmp/step
defaults:
  virtualCluster: default
`,gpus:`protocolVersion: 2
name: train-gpus
type: job
${D}taskRoles:
  worker:
    instances: 2                # machines, or parts of them
    taskRetryCount: 0
    dockerImage: image
    resourcePerInstance:
      cpu: 8
      memoryMB: 65536
      gpu: 8                    # of one instance
    commands:
      # The tasks find each other: PAI sets MASTER_ADDR, WORLD_SIZE, and RANK.
      - trainer --interval 1s --checkpoint /tmp/step
defaults:
  virtualCluster: default
`,sweep:`protocolVersion: 2
name: sweep
type: job
${D}taskRoles:
  try:
    instances: 4
    taskRetryCount: 2           # each try is restarted by itself
    completion:
      minSucceededInstances: 2  # two successes are enough
    dockerImage: image
    resourcePerInstance:
      cpu: 0.5
      memoryMB: 256
      gpu: 0
    commands:
      - echo "try $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"
      - sleep 30
defaults:
  virtualCluster: default
`};function k(e,t){return e.replace(/^(name:[ \t]*)(?:"[^"\n]*"|'[^'\n]*'|[^\s#][^#\n]*?)([ \t]*(?:#.*)?)$/m,(e,n,r)=>`${n}${t}${r}`)}function A(e){let t=/^(.*)-(\d+)$/.exec(e);return t?`${t[1]}-${Number(t[2])+1}`:`${e}-2`}function j(e,t,n){let r=e.split(`
`),i=Math.min(Math.max(1,t??1),r.length),a=r.slice(0,i-1).reduce((e,t)=>e+t.length+1,0),o=r[i-1]??``,s=o.length-o.trimStart().length,c=Math.min(n&&n>0?n-1:s,o.length),l=/^[^\s:#,[\]{}]+/.exec(o.slice(c)),u=n&&l?c+l[0].length:o.length;return{from:a+Math.min(c,u),to:a+Math.max(c,u)}}var M=x(),N=(0,T.lazy)(()=>g(()=>import(`./editor-Duy-JHTU.js`),__vite__mapDeps([0,1]))),P=`pai-draft`,F=a.submit;function I(e){let r=t(e,500),i=n({queryKey:[`dry-run`,r],queryFn:async({signal:e})=>{try{return{preview:await w(r,e)}}catch(e){if(e instanceof o)return{error:e};throw e}},enabled:r.trim()!==``,gcTime:6e4,staleTime:6e4,placeholderData:e=>e}),a=i.failureReason instanceof s;return{...i.data,checking:r!==e||i.isFetching&&!a,away:a}}function L({title:e,problems:t,kind:n,onJump:r,text:i}){return t.length?(0,M.jsxs)(`section`,{className:`problems problems-${n}`,children:[(0,M.jsx)(`h2`,{children:e}),(0,M.jsx)(`ul`,{children:t.map((e,t)=>(0,M.jsxs)(`li`,{children:[e.line?(0,M.jsx)(`button`,{type:`button`,className:`link`,"aria-label":F.jump(F.place(e.line,e.column??0)),onClick:()=>r(j(i,e.line,e.column).from),children:F.place(e.line,e.column??0)}):e.path&&(0,M.jsx)(`code`,{children:e.path}),` `,(0,M.jsx)(`span`,{children:e.message})]},t))})]}):null}function R({preview:e}){let t=E(e,m().data?.[e.virtualCluster]),n=e=>e.toLocaleString(`en-US`),r=t?.resource?F.resources[t.resource]:``;return(0,M.jsxs)(`section`,{className:`card`,children:[(0,M.jsx)(`h2`,{children:F.result}),t&&(0,M.jsx)(`p`,{className:`fit fit-${t.kind}`,children:t.kind===`fits`?F.fits:t.kind===`waits`?F.waits(r,n(t.wanted),n(t.free)):F.never(r,n(t.wanted),n(t.total))}),(0,M.jsxs)(c,{children:[(0,M.jsx)(d,{name:F.job,children:e.id.replace(`~`,`/`)}),(0,M.jsx)(d,{name:F.virtualCluster,children:e.virtualCluster}),(0,M.jsx)(d,{name:F.tasks,children:e.tasks}),(0,M.jsx)(d,{name:F.total,children:F.amount(e.total.cpu,e.total.memoryMB,e.total.gpu)})]}),(0,M.jsx)(`ul`,{className:`roles`,children:e.taskRoles.map(e=>(0,M.jsxs)(`li`,{children:[(0,M.jsx)(`strong`,{children:F.roles(e.name,e.instances)}),`, `,F.each,`: `,F.amount(e.each.cpu,e.each.memoryMB,e.each.gpu),(0,M.jsx)(`br`,{}),(0,M.jsxs)(`span`,{className:`quiet`,children:[F.image,`: `,e.image]})]},e.name))}),(0,M.jsx)(`p`,{className:`quiet`,children:F.fitNote})]})}function z(){let e=new URLSearchParams(i()).get(`from`)??``,[,t=``,n=``]=/^([^/]+)\/([^/]+)$/.exec(e)??[],r=C(t,n,n!==``),a=(0,T.useMemo)(()=>r.data===void 0?void 0:k(r.data,A(n)),[r.data,n]);return n?{text:a,from:e,error:r.error}:{text:sessionStorage.getItem(P)??O.train,from:``,error:void 0}}function B(){e(F.title);let t=z();return t.text===void 0?t.error?(0,M.jsx)(u,{error:t.error}):(0,M.jsx)(v,{}):(0,M.jsx)(V,{initial:t.text,from:t.from},t.from)}function V({initial:e,from:t}){let[,n]=r(),i=p(),[o,s]=(0,T.useState)(e),[c,u]=(0,T.useState)(),[d,m]=(0,T.useState)(),[g,y]=(0,T.useState)(),[b,x]=(0,T.useState)(!1),{preview:C,error:w,checking:E,away:D}=I(o);(0,T.useEffect)(()=>{t||sessionStorage.setItem(P,o)},[o,t]);let k=(0,T.useMemo)(()=>[...(w?.problems??[]).map(e=>({...j(o,e.line,e.column),severity:`error`,message:e.message})),...(C?.warnings??[]).map(e=>({...j(o,e.line,e.column),severity:`warning`,message:e.message}))],[w,C,o]),A=o===e||Object.values(O).some(e=>e===o),z=e=>{s(O[e]),m(void 0)},B=async()=>{x(!0),y(void 0);try{let e=await S(o);sessionStorage.removeItem(P),await i.invalidateQueries({queryKey:[`jobs`]}),n(`/jobs/${encodeURIComponent(e.user)}/${encodeURIComponent(e.name)}`)}catch(e){y(e),x(!1)}},V=w?.problems??[],H=o.trim()?D?F.unchecked:E?F.checking:w?F.invalid(Math.max(1,V.length)):C?F.valid:F.checking:F.empty;return(0,M.jsxs)(M.Fragment,{children:[(0,M.jsxs)(_,{title:F.title,children:[(0,M.jsx)(`span`,{role:`status`,className:`check-status ${w&&!E?`bad`:C&&!E?`good`:``}`,children:H}),(0,M.jsx)(`button`,{type:`button`,className:`primary`,disabled:b||!o.trim()||w!==void 0&&!D,onClick:()=>void B(),children:b?F.submitting:F.submit})]}),(0,M.jsx)(f,{error:g}),t&&(0,M.jsx)(`p`,{className:`note`,children:F.from(t)}),/\*{6}/.test(o)&&(0,M.jsx)(`p`,{className:`note`,children:F.secretsHidden}),(0,M.jsxs)(`div`,{className:`filter-row`,children:[(0,M.jsx)(l,{label:F.template,value:`own`,options:Object.entries(F.templates),onChange:e=>{e!==`own`&&(A?z(e):m(e))}}),(0,M.jsx)(`p`,{className:`quiet grow`,children:F.keys})]}),(0,M.jsxs)(`div`,{className:`submit`,children:[(0,M.jsx)(T.Suspense,{fallback:(0,M.jsx)(v,{}),children:(0,M.jsx)(N,{label:F.editor,value:o,onChange:s,marks:k,jump:c})}),(0,M.jsxs)(`div`,{className:`submit-side`,children:[w&&(0,M.jsx)(L,{title:F.problems,kind:`error`,problems:V.length?V:[{message:w.message}],text:o,onJump:e=>u({at:e})}),w&&!V.length&&w.next&&(0,M.jsx)(`p`,{className:`quiet`,children:a.nextStep(w.next)}),C&&(0,M.jsx)(L,{title:F.warnings,kind:`warning`,problems:C.warnings??[],text:o,onJump:e=>u({at:e})}),C&&(0,M.jsx)(R,{preview:C})]})]}),d&&(0,M.jsx)(h,{title:F.replace,action:F.replaceDo,onClose:()=>m(void 0),onSubmit:()=>Promise.resolve(z(d)),children:(0,M.jsx)(`p`,{children:F.replaceHelp})})]})}export{B as default};