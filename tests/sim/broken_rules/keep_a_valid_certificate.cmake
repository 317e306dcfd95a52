# A failed renewal costs the certificate that was to be renewed.
set(SOURCE agent/core/issuing.cc)
set(FROM [==[    schedule_.Failed(result.identity_id, refused, now, expires - now, random_);
]==])
set(TO [==[    schedule_.Failed(result.identity_id, refused, now, expires - now, random_);
    if (renewal) latest_.certificates.erase(held);
    Changed();
]==])
